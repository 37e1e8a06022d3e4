// The decoder that the RWKV families share.
#include "frontend/layers/recurrent_decoder.h"

#include <cmath>
#include <optional>

#include "base/strings.h"
#include "frontend/layers/embedding.h"
#include "frontend/layers/norm.h"

namespace mlc::frontend {
namespace {

using graph::GraphBuilder;
using graph::Value;

constexpr char kTimeShift[] = "attention_shift", kChannelShift[] = "feed_forward_shift";

// sigmoid(receptance(x')) * value(relu(key(x''))^2)
struct ChannelMixing {
  int64_t layer;
  TokenMix key_mix, receptance_mix;
  Linear key, receptance, value;

  Value* operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
    Value* before = token_shift(g, x, layer, kChannelShift, inputs);
    Value* inner = g.activation(key(g, key_mix(g, x, before)), "relu2");
    Value* open = g.activation(receptance(g, receptance_mix(g, x, before)), "sigmoid");
    return g.mul(value(g, inner), open);
  }
};

struct Block {
  std::optional<LayerNorm> first_norm;  // of the first block
  LayerNorm time_norm, channel_norm;
  TimeMixing time_mixing;
  ChannelMixing channel_mixing;
  bool halve;

  Value* operator()(GraphBuilder& g, Value* x, const StepInputs& inputs) const {
    if (first_norm) x = (*first_norm)(g, x);
    x = g.add(x, time_mixing(g, time_norm(g, x), inputs));
    x = g.add(x, channel_mixing(g, channel_norm(g, x), inputs));
    return halve ? g.scale(x, 0.5) : x;
  }
};

ChannelMixing make_channel_mixing(ParameterList& parameters, const ModelConfig& config, int64_t layer,
                                  const ModulePath& path) {
  const int64_t hidden = model_shape(config).hidden, inner = config.get_int("intermediate_size");
  auto mix = [&](const std::string& name) {
    return TokenMix(parameters, path.name + name, path.source + name, hidden);
  };
  auto linear = [&](const std::string& name, int64_t in, int64_t out, double scale = 1) {
    return Linear(parameters, path.name + name, in, out, {.sources = {path.source + name}, .scale = scale});
  };
  return {layer,
          mix("time_mix_key"),
          mix("time_mix_receptance"),
          linear("key", hidden, inner),
          linear("receptance", hidden, hidden),
          linear("value", inner, hidden, residual_scale(config, layer))};
}

Block make_block(ParameterList& parameters, const ModelConfig& config, const RecurrentDecoderOptions& options,
                 int64_t layer) {
  const int64_t rescale_every = config.get_int("rescale_every");
  const ModulePath path{str(options.prefix, "blocks.", layer, "."), str("rwkv.blocks.", layer, ".")};
  auto norm = [&](const std::string& name) {
    return LayerNorm(parameters, path.name + name, model_shape(config).hidden,
                     config.get_double("layer_norm_epsilon"), {.source = path.source + name});
  };
  auto inside = [&](const std::string& name) { return ModulePath{path.name + name, path.source + name}; };
  return {layer == 0 ? std::optional(norm("pre_ln")) : std::nullopt,
          norm("ln1"),
          norm("ln2"),
          options.time_mixing(parameters, config, layer, inside("attention.")),
          make_channel_mixing(parameters, config, layer, inside("feed_forward.")),
          rescale_every > 0 && (layer + 1) % rescale_every == 0};
}

class RecurrentDecoder : public Model {
 public:
  RecurrentDecoder(ParameterList& parameters, const ModelConfig& config,
                   const RecurrentDecoderOptions& options)
      : shape_(model_shape(config)),
        recurrence_(options.recurrence),
        embedding_(parameters, options.prefix + "embeddings", shape_.vocab, shape_.hidden, "rwkv.embeddings"),
        blocks_(make_blocks(parameters, config, options)),
        norm_(parameters, options.prefix + "ln_out", shape_.hidden, config.get_double("layer_norm_epsilon"),
              {.source = "rwkv.ln_out"}),
        head_(parameters, "head", shape_.hidden, shape_.vocab) {}

  std::vector<graph::SlotState> slot_states() const override {
    std::vector<graph::SlotPart> parts = {{kTimeShift, shape_.hidden}, {kChannelShift, shape_.hidden}};
    parts.insert(parts.begin() + 1, recurrence_.begin(), recurrence_.end());
    return {{.name = kRecurrentState, .layers = shape_.layers, .parts = std::move(parts)}};
  }

  Value* embed(GraphBuilder& g, Value* ids) const override { return embedding_(g, ids); }

  Value* transformer(GraphBuilder& g, Value* x, const StepInputs& inputs) const override {
    for (const Block& block : blocks_) x = block(g, x, inputs);
    return norm_(g, x);
  }

  Value* logits(GraphBuilder& g, Value* hidden) const override { return head_(g, hidden); }

 private:
  static std::vector<Block> make_blocks(ParameterList& parameters, const ModelConfig& config,
                                        const RecurrentDecoderOptions& options) {
    std::vector<Block> blocks;
    for (int64_t layer = 0; layer < model_shape(config).layers; ++layer)
      blocks.push_back(make_block(parameters, config, options, layer));
    return blocks;
  }

  ModelShape shape_;
  std::vector<graph::SlotPart> recurrence_;
  Embedding embedding_;
  std::vector<Block> blocks_;
  LayerNorm norm_;
  Linear head_;
};

}  // namespace

TokenMix::TokenMix(ParameterList& parameters, const std::string& name, const std::string& source,
                   int64_t size)
    : mix_(parameters.declare({.name = name, .shape = {1, 1, size}, .source = SourceExpr::of(source)})) {}

Value* TokenMix::operator()(GraphBuilder& g, Value* x, Value* before) const {
  return g.map(x, [&](graph::RegionBuilder& r) {
    return r.x() * r.operand(mix_) + r.operand(before) * (r.constant(1) - r.operand(mix_));
  });
}

Value* token_shift(GraphBuilder& g, Value* x, int64_t layer, const std::string& part,
                   const StepInputs& inputs) {
  return g.op("token_shift", {x, inputs.row_indptr, inputs.slot_ids}, {{"layer", layer}, {"part", part}},
              kRecurrentState)[0];
}

double residual_scale(const ModelConfig& config, int64_t layer) {
  const int64_t rescale_every = config.get_int("rescale_every");
  return rescale_every > 0 ? std::exp2(-static_cast<double>(layer / rescale_every)) : 1;
}

std::unique_ptr<Model> make_recurrent_decoder(ParameterList& parameters, const ModelConfig& config,
                                              const RecurrentDecoderOptions& options) {
  return std::make_unique<RecurrentDecoder>(parameters, config, options);
}

RopeSpec no_rope(const ModelConfig&) { return {}; }

}  // namespace mlc::frontend
