// attention over a cache of latents, whose values are the keys' first elements: a token's key is one run
// (cache.h), so scores have lanes along it, and each ends in one sum across lanes. The weighted values are
// those of attention_float.cpp, which find the page in the CPU's caches.
#include "kernel/lower/cpu/attention.h"

namespace mlc::kernel {

// Scores of `block` queries with the page's tokens, as many tokens at once as the register tile of
// score_queries() has sums of a query. They are kept where put() then stores them, vector by vector.
void Attention::score_latents(const AttentionRun& run, const ExprRef& page, const ExprRef& base,
                              const ExprRef& first_query, int64_t block, const ExprRef& to,
                              const PutScores& put) const {
  const int64_t lanes = tiling.key_lanes, stride = low.pages().value_stride();
  int64_t together = chains() * page_vectors();
  while (cache.page_size % together != 0) --together;
  ExprRef keys = k().let("keys", low.pages().value(base, run.kv_head, int_const(0)));
  ExprRef query_at = k().let("query_at", first_query * key_dim());
  ExprRef ahead;
  if (run.max_rows == 1)
    ahead = k().let("ahead", low.pages().value(page_ahead(run, page), run.kv_head, int_const(0)));
  k().loop("t", 0, cache.page_size / together, LoopKind::kSerial, [&](ExprRef group) {
    ExprRef first = k().let("token", group * together);
    ExprRef tokens = k().let("tokens", keys + first * stride);
    BufferRef acc = k().registers("dot", {DType::kF32, static_cast<int>(lanes)}, block * together);
    for (int64_t i = 0; i < block * together; ++i)
      k().store(acc, int_const(i), float_const(0, {DType::kF32, static_cast<int>(lanes)}));
    k().loop("i", 0, key_dim() / lanes, LoopKind::kSerial, [&](ExprRef i) {
      ExprRef d = k().let("d", i * lanes);
      std::vector<ExprRef> key;
      for (int64_t t = 0; t < together; ++t) {
        if (ahead) prefetch(ahead, (first + t) * stride + d, lanes);
        ExprRef stored = k().load(call.kv, tokens + t * stride + d, static_cast<int>(lanes));
        key.push_back(k().let("key", cast(stored, DType::kF32)));
      }
      for (int64_t g = 0; g < block; ++g) {
        ExprRef query = k().load(memory.queries, query_at + g * key_dim() + d, static_cast<int>(lanes));
        query = k().let("query", query);
        for (int64_t t = 0; t < together; ++t) {
          ExprRef at = int_const(g * together + t);
          k().store(acc, at, fma(query, key[static_cast<size_t>(t)], k().load(acc, at)));
        }
      }
    });
    for (int64_t g = 0; g < block; ++g)
      for (int64_t t = 0; t < together; ++t) {
        ExprRef sum = k().load(acc, int_const(g * together + t));
        k().store(memory.scores, to + first + (g * span_tokens() + t),
                  lanes == 1 ? sum : reduce(BinaryOp::kAdd, sum));
      }
  });
  for (int64_t g = 0; g < block; ++g)
    for (int64_t v = 0; v < page_vectors(); ++v) {
      ExprRef at = to + (g * span_tokens() + v * tiling.token_lanes);
      put(g, v, k().let("score", k().load(memory.scores, at, tiling.token_lanes)));
    }
}

}  // namespace mlc::kernel
