// The decoder that llama and its relatives share.
#include "frontend/layers/gated_decoder.h"

#include <optional>

#include "frontend/layers/attention.h"
#include "frontend/layers/embedding.h"
#include "frontend/layers/mlp.h"
#include "frontend/layers/norm.h"

namespace mlc::frontend {
namespace {

using graph::GraphBuilder;
using graph::RegionBuilder;
using graph::Value;

struct Block {
  Attention attention;
  GatedMlp mlp;
  RmsNorm attention_norm, mlp_norm;
  std::optional<RmsNorm> after_attention, after_mlp;

  Value* operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
    Value* mixed = attention(g, attention_norm(g, x), inputs);
    x = g.add(x, after_attention ? (*after_attention)(g, mixed) : mixed);
    Value* fed = mlp(g, mlp_norm(g, x));
    return g.add(x, after_mlp ? (*after_mlp)(g, fed) : fed);
  }
};

Block make_block(ParameterList& parameters, const ModelConfig& config, const GatedDecoderOptions& options,
                 int64_t layer) {
  const AttentionShape shape = options.attention ? options.attention(layer) : attention_shape(config);
  const int64_t hidden = shape.hidden, inner = config.get_int("intermediate_size");
  const double eps = config.get_double("rms_norm_eps");
  const std::string block = "model.layers." + std::to_string(layer);
  const std::string attention = block + ".self_attn.", mlp = block + ".mlp.";
  auto norm = [&](const std::string& name) {
    return RmsNorm(parameters, block + name, hidden, eps, {.plus_one = options.norms_plus_one});
  };
  auto sandwich = [&](const std::string& name) {
    return options.sandwich_norms ? std::optional(norm(name)) : std::nullopt;
  };
  return {
      Attention(shape, layer,
                Linear(parameters, attention + options.qkv, hidden, shape.qkv_size(),
                       {.bias = options.qkv_bias,
                        .sources = {attention + "q_proj", attention + "k_proj", attention + "v_proj"},
                        .sharding = shape.qkv_sharding()}),
                Linear(parameters, attention + "o_proj", shape.q_size(), hidden,
                       {.bias = options.output_bias, .sharding = shape.output_sharding()})),
      GatedMlp(options.activation,
               Linear(parameters, mlp + "gate_up_proj", hidden, 2 * inner,
                      {.bias = options.mlp_bias,
                       .sources = {mlp + "gate_proj", mlp + "up_proj"},
                       .sharding = {.axis = 0, .segments = {inner, inner}}}),
               Linear(parameters, mlp + "down_proj", inner, hidden,
                      {.bias = options.mlp_bias, .sharding = {.axis = 1}})),
      norm(".input_layernorm"),
      norm(options.sandwich_norms ? ".pre_feedforward_layernorm" : ".post_attention_layernorm"),
      sandwich(".post_attention_layernorm"),
      sandwich(".post_feedforward_layernorm"),
  };
}

class GatedDecoder : public Model {
 public:
  GatedDecoder(ParameterList& parameters, const ModelConfig& config, const GatedDecoderOptions& options)
      : embedding_(parameters, "model.embed_tokens", model_shape(config).vocab, model_shape(config).hidden),
        blocks_(make_blocks(parameters, config, options)),
        norm_(parameters, "model.norm", model_shape(config).hidden, config.get_double("rms_norm_eps"),
              {.plus_one = options.norms_plus_one}),
        embedding_scale_(options.embedding_scale),
        logit_cap_(options.logit_cap) {
    if (!(config.has("tie_word_embeddings") ? config.get_bool("tie_word_embeddings") : options.tied))
      head_.emplace(parameters, "lm_head", model_shape(config).hidden, model_shape(config).vocab);
  }

  Value* embed(GraphBuilder& g, Value* ids) const override {
    Value* x = embedding_(g, ids);
    if (embedding_scale_ == 1) return x;
    return g.map(x, [&](RegionBuilder& r) { return r.x() * r.constant(embedding_scale_); });
  }

  Value* transformer(GraphBuilder& g, Value* x, const StepInputs& inputs) const override {
    for (const Block& block : blocks_) x = block(g, x, inputs);
    return norm_(g, x);
  }

  Value* logits(GraphBuilder& g, Value* hidden) const override {
    Value* logits = head_ ? (*head_)(g, hidden) : embedding_.as_linear(g, hidden);
    if (logit_cap_ == 0) return logits;
    return g.map(logits, [&](RegionBuilder& r) {
      return r.call("tanh", r.x() / r.constant(logit_cap_)) * r.constant(logit_cap_);
    });
  }

 private:
  static std::vector<Block> make_blocks(ParameterList& parameters, const ModelConfig& config,
                                        const GatedDecoderOptions& options) {
    std::vector<Block> blocks;
    for (int64_t layer = 0; layer < model_shape(config).layers; ++layer)
      blocks.push_back(make_block(parameters, config, options, layer));
    return blocks;
  }

  Embedding embedding_;
  std::vector<Block> blocks_;
  RmsNorm norm_;
  double embedding_scale_, logit_cap_;
  std::optional<Linear> head_;  // absent when tied
};

}  // namespace

std::unique_ptr<Model> make_gated_decoder(ParameterList& parameters, const ModelConfig& config,
                                          const GatedDecoderOptions& options) {
  return std::make_unique<GatedDecoder>(parameters, config, options);
}

}  // namespace mlc::frontend
