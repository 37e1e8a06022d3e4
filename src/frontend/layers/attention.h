// Attention: fused QKV projection, rotary embedding, paged causal attention with grouped heads, output
// projection.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "frontend/functions.h"
#include "frontend/layers/linear.h"
#include "frontend/layers/norm.h"

namespace mlc::frontend {

// Head counts and sizes of a layer, by default those that all layers of a model share.
struct AttentionShape {
  int64_t hidden = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t rotary_dim = 0;  // the first elements of each head that are rotated; 0 = none (arXiv:2104.09864)
  size_t rope = 0;         // the rope table that rotates them
  double scale = 1;        // of scores: head_dim^-0.5
  double softcap = 0;      // of scores: c * tanh(score / c); 0 = none
  double alibi = 0;  // of scores: biases by distance, down to slopes of 2^-alibi (arXiv:2108.12409); 0 = none
  int64_t window = 0;  // tokens that a row sees at most, itself included; 0 = all before it

  int64_t q_size() const { return heads * head_dim; }
  int64_t kv_size() const { return kv_heads * head_dim; }
  int64_t qkv_size() const { return q_size() + 2 * kv_size(); }
  // Ranks divide the heads: queries, keys and values each by themselves, and the inputs of the output
  // projection.
  Sharding qkv_sharding() const {
    return {.axis = 0, .unit = head_dim, .segments = {q_size(), kv_size(), kv_size()}};
  }
  Sharding output_sharding() const { return {.axis = 1, .unit = head_dim, .segments = {}}; }
};

AttentionShape attention_shape(const ModelConfig& config);

// The queries, keys and values of rows: by one linear that gives them one after the other, or by one each.
class QkvProjection {
 public:
  QkvProjection(Linear fused) { parts_.push_back(std::move(fused)); }
  QkvProjection(Linear queries, Linear keys, Linear values) {
    for (Linear* part : {&queries, &keys, &values}) parts_.push_back(std::move(*part));
  }
  struct Values {
    graph::Value *queries, *keys, *values;
  };
  Values operator()(graph::GraphBuilder& g, graph::Value* x, const AttentionShape& shape) const;

 private:
  std::vector<Linear> parts_;
};

// Norms of each query and key by itself, before they are rotated; weights of head_dim (arXiv:2010.04245).
struct HeadNorms {
  RmsNorm queries, keys;
};

class Attention {
 public:
  // A fused qkv gives [all queries; all keys; all values]: qkv_size() columns. `layer` is this layer's place
  // in the KV cache.
  Attention(const AttentionShape& shape, int64_t layer, QkvProjection qkv, Linear output,
            std::optional<HeadNorms> norms = std::nullopt);

  // Each head's softmax has one more score in its denominator: the parameter `name`, of the tensor `source`.
  void add_sinks(ParameterList& parameters, const std::string& name, const std::string& source);

  // x f32[rows, hidden] -> f32[rows, hidden]; appends the rows' keys and values to the cache first
  graph::Value* operator()(graph::GraphBuilder& g, graph::Value* x, const StepInputs& inputs) const;

 private:
  AttentionShape shape_;
  int64_t layer_;
  QkvProjection qkv_;
  Linear output_;
  std::optional<HeadNorms> norms_;
  graph::Value* sinks_ = nullptr;
};

}  // namespace mlc::frontend
