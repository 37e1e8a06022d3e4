// Multi-head latent attention: keys and values of all heads are made from one small vector a token, the
// latent, which alone is cached, beside a key part that is rotated and shared by all heads
// (arXiv:2405.04434, 2.1).
#pragma once

#include <optional>
#include <string>

#include "frontend/functions.h"
#include "frontend/layers/linear.h"
#include "frontend/layers/norm.h"

namespace mlc::frontend {

struct LatentShape {
  int64_t hidden = 0, heads = 0;
  int64_t query_rank = 0;  // of the queries' own latent; 0: they are made from the hidden state
  int64_t rank = 0;        // elements of the latent
  int64_t plain = 0, rotated = 0, value = 0;  // of a head: of queries and keys, and of values
  double scale = 1;                           // of scores

  int64_t query_size() const { return plain + rotated; }
  int64_t key_size() const { return rank + rotated; }  // what a token has in the cache
};

// Absorbed form: a head's score is (W_uk q) . latent, so that attention runs over the latent as the one key
// head of all queries, its first `rank` elements being the value; W_uv makes of what it gives the head's
// value. Parameters of `name`: q_proj, or q_a_proj, q_a_layernorm, q_b_proj; kv_a_proj_with_mqa,
// kv_a_layernorm, o_proj; kv_b_proj [heads * (plain + value), rank] and, made from it, w_uk [heads, rank,
// plain] and w_uv [heads, value, rank], which no scheme quantizes. UserError where `plain` is odd.
class LatentAttention {
 public:
  LatentAttention(ParameterList& parameters, const LatentShape& shape, int64_t layer,
                  const std::string& name);
  // x f32[rows, hidden] -> f32[rows, hidden]; appends the rows' latents to the cache first
  graph::Value* operator()(graph::GraphBuilder& g, graph::Value* x, const StepInputs& inputs) const;

 private:
  LatentShape shape_;
  int64_t layer_;
  std::optional<Linear> query_down_;  // with query_norm_ where queries have a latent of their own
  std::optional<RmsNorm> query_norm_;
  Linear query_, latent_;
  RmsNorm norm_;
  Linear output_;
  graph::Value *up_keys_ = nullptr, *up_values_ = nullptr;
};

}  // namespace mlc::frontend
