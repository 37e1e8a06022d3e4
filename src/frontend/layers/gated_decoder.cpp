// The decoder that llama and its relatives share.
#include "frontend/layers/gated_decoder.h"

#include <optional>

#include "base/strings.h"
#include "frontend/layers/attention.h"
#include "frontend/layers/embedding.h"
#include "frontend/layers/norm.h"

namespace mlc::frontend {
namespace {

using graph::GraphBuilder;
using graph::Value;

Value* scaled(GraphBuilder& g, Value* x, double factor) { return factor == 1 ? x : g.scale(x, factor); }

struct Block {
  AttentionLayer attention;
  FeedForward mlp;
  RmsNorm attention_norm, mlp_norm;
  std::optional<RmsNorm> after_attention, after_mlp;
  double residual_scale;

  Value* operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
    Value* mixed = attention(g, attention_norm(g, x), inputs);
    x = g.add(x, scaled(g, after_attention ? (*after_attention)(g, mixed) : mixed, residual_scale));
    Value* fed = mlp(g, mlp_norm(g, x));
    return g.add(x, scaled(g, after_mlp ? (*after_mlp)(g, fed) : fed, residual_scale));
  }
};

QkvProjection make_qkv(ParameterList& parameters, const GatedDecoderOptions& options,
                       const AttentionShape& shape, const std::string& attention, const std::string& source) {
  if (!options.split_qkv) {
    std::vector<std::string> fused = {source + "q_proj", source + "k_proj", source + "v_proj"};
    if (options.fused_sources) fused = {source + "qkv_proj"};
    return Linear(parameters, attention + options.qkv, shape.hidden, shape.qkv_size(),
                  {.bias = options.qkv_bias, .sources = fused, .sharding = shape.qkv_sharding()});
  }
  auto linear = [&](const std::string& name, int64_t size) {
    return Linear(parameters, attention + name, shape.hidden, size,
                  {.bias = options.qkv_bias,
                   .sources = {source + name},
                   .sharding = {.axis = 0, .unit = shape.head_dim, .segments = {}}});
  };
  return QkvProjection{linear("q_proj", shape.q_size()), linear("k_proj", shape.kv_size()),
                       linear("v_proj", shape.kv_size())};
}

// `attention`, `source`: of the layer's attention, in MLC's names and the checkpoint's.
Attention make_attention(ParameterList& parameters, const ModelConfig& config,
                         const GatedDecoderOptions& options, int64_t layer, const std::string& attention,
                         const std::string& source) {
  AttentionShape shape = attention_shape(config);
  shape.window = options.window;
  if (options.attention_scale > 0) shape.scale = options.attention_scale;
  if (!options.rotated.empty() && !options.rotated[static_cast<size_t>(layer)]) shape.rotary_dim = 0;
  if (options.adjust) options.adjust(shape, layer);
  QkvProjection qkv = make_qkv(parameters, options, shape, attention, source);
  Linear output(
      parameters, attention + options.output, shape.q_size(), shape.hidden,
      {.bias = options.output_bias, .sources = {source + "o_proj"}, .sharding = shape.output_sharding()});
  auto norm = [&](const std::string& name) {
    return RmsNorm(parameters, attention + name, shape.head_dim, config.get_double("rms_norm_eps"),
                   {.source = source + name, .plus_one = options.norms_plus_one});
  };
  std::optional<HeadNorms> norms;
  if (options.head_norms) norms = HeadNorms{norm("q_norm"), norm("k_norm")};
  Attention made(shape, layer, std::move(qkv), std::move(output), std::move(norms));
  if (options.sinks) made.add_sinks(parameters, attention + "sinks", source + "sinks");
  return made;
}

FeedForward make_mlp(ParameterList& parameters, const ModelConfig& config, const GatedDecoderOptions& options,
                     const std::string& mlp, const std::string& source) {
  const int64_t hidden = model_shape(config).hidden, inner = config.get_int("intermediate_size");
  std::vector<std::string> fused = {source + "gate_proj", source + "up_proj"};
  if (options.fused_sources) fused = {source + "gate_up_proj"};
  return GatedMlp{
      options.activation,
      Linear(
          parameters, mlp + "gate_up_proj", hidden, 2 * inner,
          {.bias = options.mlp_bias, .sources = fused, .sharding = {.axis = 0, .segments = {inner, inner}}}),
      Linear(parameters, mlp + "down_proj", inner, hidden,
             {.bias = options.mlp_bias, .sources = {source + "down_proj"}, .sharding = {.axis = 1}})};
}

Block make_block(ParameterList& parameters, const ModelConfig& config, const GatedDecoderOptions& options,
                 int64_t layer) {
  const int64_t hidden = model_shape(config).hidden;
  const double eps = config.get_double("rms_norm_eps");
  const std::string block = str(options.layers, ".", layer, "."),
                    source = str(options.source, ".layers.", layer, ".");
  auto norm = [&](const std::string& name, const std::string& of) {
    return RmsNorm(parameters, block + name, hidden, eps,
                   {.source = source + of, .plus_one = options.norms_plus_one});
  };
  auto sandwich = [&](const std::string& name) {
    return options.sandwich_norms ? std::optional(norm(name, name)) : std::nullopt;
  };
  const std::string before_mlp =
      options.sandwich_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm";
  auto attention = [&]() -> AttentionLayer {
    if (options.attention_layer)
      return options.attention_layer(parameters, config, layer, str(options.layers, ".", layer));
    return make_attention(parameters, config, options, layer, block + options.attention + ".",
                          source + "self_attn.");
  };
  auto feed_forward = [&]() -> FeedForward {
    FeedForward own;
    if (options.feed_forward)
      own = options.feed_forward(parameters, config, layer, str(options.layers, ".", layer));
    return own ? own : make_mlp(parameters, config, options, block + "mlp.", source + "mlp.");
  };
  return {
      attention(),
      feed_forward(),
      norm(options.input_norm, "input_layernorm"),
      norm(before_mlp, before_mlp),
      sandwich("post_attention_layernorm"),
      sandwich("post_feedforward_layernorm"),
      options.residual_scale,
  };
}

class GatedDecoder : public Model {
 public:
  GatedDecoder(ParameterList& parameters, const ModelConfig& config, const GatedDecoderOptions& options)
      : embedding_(parameters, options.embedding, model_shape(config).vocab, model_shape(config).hidden,
                   options.source + ".embed_tokens"),
        blocks_(make_blocks(parameters, config, options)),
        norm_(parameters, options.norm, model_shape(config).hidden, config.get_double("rms_norm_eps"),
              {.source = options.source + ".norm", .plus_one = options.norms_plus_one}),
        embedding_scale_(options.embedding_scale),
        logits_scale_(options.logits_scale),
        logit_cap_(options.logit_cap) {
    const bool tied =
        config.has("tie_word_embeddings") ? config.get_bool("tie_word_embeddings") : options.tied;
    if (!tied && !options.headless)
      head_.emplace(parameters, "lm_head", model_shape(config).hidden, model_shape(config).vocab);
  }

  Value* embed(GraphBuilder& g, Value* ids) const override {
    return scaled(g, embedding_(g, ids), embedding_scale_);
  }

  Value* transformer(GraphBuilder& g, Value* x, const StepInputs& inputs) const override {
    for (const Block& block : blocks_) x = block(g, x, inputs);
    return norm_(g, x);
  }

  Value* logits(GraphBuilder& g, Value* hidden) const override {
    Value* logits = scaled(g, head_ ? (*head_)(g, hidden) : embedding_.as_linear(g, hidden), logits_scale_);
    if (logit_cap_ == 0) return logits;
    return g.map(logits, [&](graph::RegionBuilder& r) {
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
  double embedding_scale_, logits_scale_, logit_cap_;
  std::optional<Linear> head_;  // absent when tied
};

}  // namespace

std::unique_ptr<Model> make_gated_decoder(ParameterList& parameters, const ModelConfig& config,
                                          const GatedDecoderOptions& options) {
  return std::make_unique<GatedDecoder>(parameters, config, options);
}

}  // namespace mlc::frontend
