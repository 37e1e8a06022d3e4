// GraphBuilder: appends nodes to a function; every call checks its operands and infers the result type
// (ops/registry.h). Used by the frontend's layers and by tests. Shapes: `rows` is the symbolic first
// dimension of activations.
#pragma once

#include <string>
#include <vector>

#include "graph/ir.h"

namespace mlc::graph {

// What attention needs where a rolling window drops tokens (ops/attention.cpp); nullptr = it drops none.
struct RollingWindow {
  Value *skip_begin = nullptr, *skip_count = nullptr;  // i32[batch]
  Value* key_factors =
      nullptr;  // f32[keys, rotary_dim], row i rotates the key of token i; nullptr = no rotation
  bool interleaved = false;
};

// One attention (ops/attention.cpp); nullptr and 0: without.
struct AttentionInputs {
  Value* q = nullptr;             // [rows, heads * head_dim]
  Value* row_sequence = nullptr;  // i32[rows]
  Value* limits = nullptr;        // i32[rows]
  Value* page_indptr = nullptr;   // i32[batch + 1]
  Value* page_ids = nullptr;      // i32[pages]
  Value* mask = nullptr;          // i32[rows], of a tree of rows
  RollingWindow rolling = {};
  Value* sinks = nullptr;  // [heads]: one more score in each head's denominator
};
struct AttentionOptions {
  int64_t heads = 0;
  double scale = 1;
  int64_t window = 0;
  double softcap = 0;  // scores are softcap * tanh(score / softcap)
  double alibi = 0;    // scores are biased by distance
};

class GraphBuilder {
 public:
  GraphBuilder(Module& module, Function& function) : module_(module), function_(function) {}

  Module& module() { return module_; }
  Function& function() { return function_; }

  // The module's parameter of that name, added with `type` when absent; internal error when it exists with
  // another type.
  Value* parameter(const std::string& name, const TensorType& type);

  // Any op by name; checks and infers through the registry. Internal error when the op refuses its operands.
  std::vector<Value*> op(const std::string& name, std::vector<Value*> inputs, Attributes attributes = {},
                         const std::string& state = "", Region region = {});

  Value* take(Value* table, Value* indices);  // table [V, H], indices i32[rows] -> f32[rows, H]
  Value* matmul(Value* x, Value* weight);     // x [rows, K], weight [N, K] -> f32[rows, N]
  Value* rms_norm(Value* x, Value* weight, double eps);
  Value* layer_norm(Value* x, Value* weight, Value* bias, double eps);  // bias may be nullptr
  // A region of x, which has one accumulator or, as gate and up, two.
  using Ref = RegionBuilder::Ref;
  Value* map(Value* x, const std::function<Ref(RegionBuilder&)>& region);
  Value* add(Value* a, Value* b);  // maps, likewise below
  Value* mul(Value* a, Value* b);
  Value* bias(Value* x, Value* b);  // x [rows, N] + b [N]
  Value* scale(Value* x, double factor);
  Value* activation(Value* x, const std::string& function);  // a function of ops/math.h
  Value* gated(Value* x, const std::string& function);       // x [rows, 2I] -> function(x[:, :I]) * x[:, I:]
  Value* slice(Value* x, int64_t begin, int64_t end);        // columns [begin, end) of [rows, N]
  // Rotates each head's first `rotary_dim` elements: pairs (d, d + rotary_dim/2), or (2d, 2d+1) when
  // interleaved. factors f32[rows, rotary_dim]: rotary_dim/2 cosines, then rotary_dim/2 sines.
  Value* rope(Value* x, Value* factors, int64_t head_dim, int64_t rotary_dim, bool interleaved = false);
  // Writes k, v [rows, kv_heads*head_dim] of `layer` into slot row_slots[r] = page id * page_size + offset of
  // row r.
  void kv_append(const std::string& state, int64_t layer, Value* k, Value* v, Value* row_slots);
  // Rows against the first limits[r] cached keys of sequence row_sequence[r], of which a window leaves the
  // last ones; the sequence's pages are page_ids[page_indptr[s] .. page_indptr[s+1]); softmax(scale * q.k) v;
  // heads share K/V in groups of heads/kv_heads. With a rolling window the keys are stored unrotated.
  Value* attention(const std::string& state, int64_t layer, const AttentionInputs& inputs,
                   const AttentionOptions& options);

 private:
  Module& module_;
  Function& function_;
};

}  // namespace mlc::graph
