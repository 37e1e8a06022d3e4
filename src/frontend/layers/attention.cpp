// Appends the ops of one attention block over the module's paged KV cache.
#include "frontend/layers/attention.h"

#include <cmath>

#include "base/strings.h"
#include "base/user_error.h"
#include "formats/plan.h"

namespace mlc::frontend {

AttentionShape attention_shape(const ModelConfig& config) {
  const ModelShape shape = model_shape(config);
  return {.hidden = shape.hidden,
          .heads = shape.heads,
          .kv_heads = shape.kv_heads,
          .head_dim = shape.head_dim,
          .rotary_dim = rope_spec(config).rotary_dim,
          .scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim))};
}

QkvProjection::Values QkvProjection::operator()(graph::GraphBuilder& g, graph::Value* x,
                                                const AttentionShape& shape) const {
  if (parts_.size() == 3) {
    graph::Value* queries = parts_[0](g, x);
    graph::Value* keys = parts_[1](g, x);
    return {queries, keys, parts_[2](g, x)};
  }
  const int64_t q_end = shape.q_size(), k_end = q_end + shape.kv_size();
  graph::Value* qkv = parts_[0](g, x);
  graph::Value* queries = g.slice(qkv, 0, q_end);
  graph::Value* keys = g.slice(qkv, q_end, k_end);
  return {queries, keys, g.slice(qkv, k_end, shape.qkv_size())};
}

Attention::Attention(const AttentionShape& shape, int64_t layer, QkvProjection qkv, Linear output,
                     std::optional<HeadNorms> norms)
    : shape_(shape),
      layer_(layer),
      qkv_(std::move(qkv)),
      output_(std::move(output)),
      norms_(std::move(norms)) {}

void Attention::add_sinks(ParameterList& parameters, const std::string& name, const std::string& source) {
  Parameter sinks{.name = name, .shape = {shape_.heads}, .sharding = {.axis = 0, .segments = {}}};
  sinks.source = SourceExpr::of(source);
  sinks_ = parameters.declare(std::move(sinks));
}

graph::Value* Attention::operator()(graph::GraphBuilder& g, graph::Value* x, const StepInputs& inputs) const {
  auto [q, k, v] = qkv_(g, x, shape_);
  if (norms_) q = norms_->queries(g, q), k = norms_->keys(g, k);
  graph::RollingWindow rolling{.skip_begin = inputs.skip_begin, .skip_count = inputs.skip_count};
  if (shape_.rotary_dim > 0) {
    const StepInputs::Rotation& rotation = inputs.rotations.at(shape_.rope);
    rolling.key_factors = rotation.keys;
    q = g.rope(q, rotation.rows, shape_.head_dim, shape_.rotary_dim);
    if (!rotation.keys) k = g.rope(k, rotation.rows, shape_.head_dim, shape_.rotary_dim);
  }
  g.kv_append(kKvState, layer_, k, v, inputs.row_slots);
  if (inputs.mask && shape_.window > 0 && shape_.window < kMostTreeTokens)
    throw UserError(str("--tree-verify: layer ", layer_, " sees ", shape_.window,
                        " tokens, expected at least the ", kMostTreeTokens,
                        " that a tree may have; leave the flag out"));
  graph::AttentionInputs in = inputs.attention(q);
  in.rolling = rolling, in.sinks = sinks_;
  graph::Value* mixed = g.attention(kKvState, layer_, in,
                                    {.heads = shape_.heads,
                                     .scale = shape_.scale,
                                     .window = shape_.window,
                                     .softcap = shape_.softcap,
                                     .alibi = shape_.alibi});
  return output_(g, mixed);
}

}  // namespace mlc::frontend
