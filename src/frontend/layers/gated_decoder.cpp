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
using graph::Value;

struct Block {
  Attention attention;
  GatedMlp mlp;
  RmsNorm input_norm, post_attention_norm;

  Value* operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
    x = g.add(x, attention(g, input_norm(g, x), inputs));
    return g.add(x, mlp(g, post_attention_norm(g, x)));
  }
};

Block make_block(ParameterList& parameters, const ModelConfig& config, const GatedDecoderNames& names,
                 int64_t layer) {
  AttentionShape shape = attention_shape(config);
  shape.window = names.window;
  const int64_t hidden = shape.hidden, inner = config.get_int("intermediate_size");
  const double eps = config.get_double("rms_norm_eps");
  const std::string block = "model.layers." + std::to_string(layer);
  const std::string attention = block + ".self_attn.", mlp = block + ".mlp.";
  return {
      Attention(shape, layer,
                Linear(parameters, attention + names.qkv, hidden, shape.qkv_size(),
                       {.bias = names.qkv_bias,
                        .sources = {attention + "q_proj", attention + "k_proj", attention + "v_proj"},
                        .sharding = shape.qkv_sharding()}),
                Linear(parameters, attention + "o_proj", shape.q_size(), hidden,
                       {.bias = names.output_bias, .sharding = shape.output_sharding()})),
      GatedMlp("silu",
               Linear(parameters, mlp + "gate_up_proj", hidden, 2 * inner,
                      {.bias = names.mlp_bias,
                       .sources = {mlp + "gate_proj", mlp + "up_proj"},
                       .sharding = {.axis = 0, .segments = {inner, inner}}}),
               Linear(parameters, mlp + "down_proj", inner, hidden,
                      {.bias = names.mlp_bias, .sharding = {.axis = 1}})),
      RmsNorm(parameters, block + ".input_layernorm", hidden, eps),
      RmsNorm(parameters, block + ".post_attention_layernorm", hidden, eps),
  };
}

class GatedDecoder : public Model {
 public:
  GatedDecoder(ParameterList& parameters, const ModelConfig& config, const GatedDecoderNames& names)
      : embedding_(parameters, "model.embed_tokens", model_shape(config).vocab, model_shape(config).hidden),
        blocks_(make_blocks(parameters, config, names)),
        norm_(parameters, "model.norm", model_shape(config).hidden, config.get_double("rms_norm_eps")) {
    if (!config.has("tie_word_embeddings") || !config.get_bool("tie_word_embeddings"))
      head_.emplace(parameters, "lm_head", model_shape(config).hidden, model_shape(config).vocab);
  }

  Value* embed(GraphBuilder& g, Value* ids) const override { return embedding_(g, ids); }

  Value* transformer(GraphBuilder& g, Value* x, const StepInputs& inputs) const override {
    for (const Block& block : blocks_) x = block(g, x, inputs);
    return norm_(g, x);
  }

  Value* logits(GraphBuilder& g, Value* hidden) const override {
    return head_ ? (*head_)(g, hidden) : embedding_.as_linear(g, hidden);
  }

 private:
  static std::vector<Block> make_blocks(ParameterList& parameters, const ModelConfig& config,
                                        const GatedDecoderNames& names) {
    std::vector<Block> blocks;
    for (int64_t layer = 0; layer < model_shape(config).layers; ++layer)
      blocks.push_back(make_block(parameters, config, names, layer));
    return blocks;
  }

  Embedding embedding_;
  std::vector<Block> blocks_;
  RmsNorm norm_;
  std::optional<Linear> head_;  // absent when tied
};

}  // namespace

std::unique_ptr<Model> make_gated_decoder(ParameterList& parameters, const ModelConfig& config,
                                          const GatedDecoderNames& names) {
  return std::make_unique<GatedDecoder>(parameters, config, names);
}

}  // namespace mlc::frontend
