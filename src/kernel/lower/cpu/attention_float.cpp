// attention over a cache of floats: products and weighted sums in f32. Also the rotation of keys that are
// stored unrotated, of either kind of cache: they meet the queries as floats.
#include <algorithm>

#include "kernel/lower/cpu/attention.h"

namespace mlc::kernel {

void Attention::rotate_keys(const AttentionRun& run, const ExprRef& base,
                            const std::vector<ExprRef>& indices) const {
  ExprRef stored = k().let("stored_keys", low.pages().key(base, run.kv_head, int_const(0), int_const(0)));
  const int64_t half = call.rotation.rotary_dim / 2, size = cache.page_size;
  const bool pairs = call.rotation.interleaved;
  for (int64_t v = 0; v < page_vectors(); ++v) {
    const ExprRef& position = indices[static_cast<size_t>(v)];
    ExprRef limit = cast(run.limit, DType::kI32);
    ExprRef seen = k().let("seen", less(position, broadcast(limit, tiling.token_lanes)));
    ExprRef row = select(seen, position, int_const(0, position->type)) * call.key_factors.row_stride;
    ExprRef factors = k().let("factors", row + call.key_factors.column_offset);
    auto at = [&](const ExprRef& d) { return d * size + v * tiling.token_lanes; };
    auto key = [&](const ExprRef& d) {
      if (is_coded(cache))
        return load_key_codes(low, call.kv, stored, d, int_const(v * tiling.token_lanes), tiling.token_lanes);
      return cast(k().load(call.kv, stored + at(d), tiling.token_lanes), DType::kF32);
    };
    auto factor = [&](const ExprRef& d) {
      ExprRef column = factors + broadcast(cast(d, DType::kI32), tiling.token_lanes);
      return tiling.token_lanes == 1 ? k().load(call.key_factors.buffer, cast(column, DType::kI64))
                                     : k().gather(call.key_factors.buffer, column, nullptr);
    };
    k().loop("d", 0, half, LoopKind::kSerial, [&](ExprRef d) {
      ExprRef first = k().let("first", pairs ? d * 2 : d);
      ExprRef second = k().let("second", pairs ? d * 2 + 1 : d + half);
      ExprRef cosine = k().let("cosine", factor(d)), sine = k().let("sine", factor(d + half));
      ExprRef a = k().let("a", key(first)), b = k().let("b", key(second));
      k().store(memory.rotated_keys, at(first), a * cosine - b * sine);
      k().store(memory.rotated_keys, at(second), b * cosine + a * sine);
    });
    k().loop("d", 2 * half, key_dim() - 2 * half, LoopKind::kSerial,
             [&](ExprRef d) { k().store(memory.rotated_keys, at(d), key(d)); });
  }
}

// Calls put(query of the block, vector of the page, scores).
void Attention::score_queries(const AttentionRun& run, const ExprRef& page, const ExprRef& base,
                              const ExprRef& first_query, int64_t block, const PutScores& put) const {
  const int64_t vectors = page_vectors(), ways = chains();
  // Enough of the head per iteration to touch whole cache lines.
  int64_t step = std::max<int64_t>(ways, 64 / (cache.page_size * size_of(cache.dtype)));
  while (key_dim() % step != 0) step -= ways;
  ExprRef keys = rotates_keys()
                     ? int_const(0)
                     : k().let("keys", low.pages().key(base, run.kv_head, int_const(0), int_const(0)));
  ExprRef query_at = k().let("query_at", first_query * key_dim());
  BufferRef acc = k().registers("dot", {DType::kF32, tiling.token_lanes}, block * ways * vectors);
  auto slot = [&](int64_t g, int64_t c, int64_t v) { return int_const((g * ways + c) * vectors + v); };
  for (int64_t i = 0; i < block * ways * vectors; ++i)
    k().store(acc, int_const(i), float_const(0, {DType::kF32, tiling.token_lanes}));
  const bool alone = run.max_rows == 1;  // rows that share loads find most of them in cache
  ExprRef ahead;
  if (alone)
    ahead = k().let("ahead", low.pages().key(page_ahead(run, page), run.kv_head, int_const(0), int_const(0)));
  k().loop("i", 0, key_dim() / step, LoopKind::kSerial, [&](ExprRef i) {
    ExprRef d = k().let("d", i * step);
    if (alone) prefetch(ahead, d * cache.page_size, step * cache.page_size);
    for (int64_t e = 0; e < step; ++e) {
      std::vector<ExprRef> key;
      for (int64_t v = 0; v < vectors; ++v) {
        ExprRef at = keys + (d + e) * cache.page_size + v * tiling.token_lanes;
        key.push_back(k().let("key", rotates_keys()
                                         ? k().load(memory.rotated_keys, at, tiling.token_lanes)
                                         : cast(k().load(call.kv, at, tiling.token_lanes), DType::kF32)));
      }
      for (int64_t g = 0; g < block; ++g) {
        ExprRef query = k().load(memory.queries, query_at + g * key_dim() + d + e);
        query = k().let("query", broadcast(query, tiling.token_lanes));
        for (int64_t v = 0; v < vectors; ++v) {
          ExprRef at = slot(g, e % ways, v);
          k().store(acc, at, fma(query, key[static_cast<size_t>(v)], k().load(acc, at)));
        }
      }
    }
  });
  for (int64_t g = 0; g < block; ++g)
    for (int64_t v = 0; v < vectors; ++v) {
      ExprRef sum = k().load(acc, slot(g, 0, v));
      if (ways == 2) sum = sum + k().load(acc, slot(g, 1, v));
      put(g, v, k().let("score", sum));
    }
}

// Scores become weights exp(score - maximum); corrections rescale what earlier spans gave.
void Attention::online_softmax(const AttentionRun& run, const ExprRef& pages) const {
  const Type vector{DType::kF32, tiling.token_lanes};
  ExprRef count = k().let("vectors", pages * page_vectors());
  ExprRef total_queries = run.rows * tiling.sharing;
  for_some_queries(run, [&](ExprRef first) {
    std::vector<ExprRef> largest = largest_scores(first, count);
    for (int64_t g = 0; g < together(); ++g) {
      ExprRef query = first + g, earlier = k().let("earlier", k().load(memory.running_max, query));
      k().store(memory.previous_max, query, earlier);
      k().store(memory.running_max, query, binary(BinaryOp::kMax, earlier, largest[static_cast<size_t>(g)]));
    }
  });
  exponentials(run, memory.corrections, memory.previous_max);
  k().loop("query", int_const(0), total_queries, LoopKind::kSerial, [&](ExprRef query) {
    ExprRef first = k().let("scores_at", score_at(query)),
            sum_at = k().let("sum_at", query * tiling.token_lanes);
    ExprRef maximum = k().let("maximum", k().load(memory.running_max, query));
    BufferRef total = k().registers("total", vector, 1);
    k().store(total, int_const(0),
              k().load(memory.sums, sum_at, tiling.token_lanes) * k().load(memory.corrections, query));
    k().loop("v", int_const(0), count, LoopKind::kSerial, [&](ExprRef v) {
      ExprRef at = k().let("at", first + v * tiling.token_lanes);
      ExprRef weight = k().let(
          "weight",
          softmax_weight(low, k().let("over", k().load(memory.scores, at, tiling.token_lanes) - maximum)));
      k().store(memory.scores, at, weight);
      k().store(total, int_const(0), k().load(total, int_const(0)) + weight);
    });
    k().store(memory.sums, sum_at, k().load(total, int_const(0)));
  });
}

void Attention::accumulate_page(const AttentionRun& run, const ExprRef& page, const ExprRef& in_span,
                                const BufferRef& acc, const ExprRef& first_query, int64_t block,
                                const ExprRef& first_column) const {
  const int64_t chunks = value_chunks(), stride = low.pages().value_stride();
  ExprRef values =
      k().let("values", low.pages().value(base_of(run, page), run.kv_head, int_const(0)) + first_column);
  ExprRef weights = k().let("weights", score_at(first_query) + in_span * cache.page_size);
  const LiveTokens live = live_tokens(run, page);
  ExprRef ahead;
  if (run.max_rows == 1 && !cache.latent)
    ahead =
        k().let("ahead", low.pages().value(page_ahead(run, page), run.kv_head, int_const(0)) + first_column);
  k().loop("t", int_const(0), live.count, LoopKind::kSerial, [&](ExprRef t) {
    ExprRef token = t;
    if (ahead) prefetch(ahead, t * stride, chunks * tiling.value_lanes);
    if (rolling()) token = k().let("token", t + select(less(t, live.gap_begin), int_const(0), live.gap));
    std::vector<ExprRef> value;
    for (int64_t c = 0; c < chunks; ++c) {
      ExprRef at = values + token * stride + c * tiling.value_lanes;
      value.push_back(k().let("value", cast(k().load(call.kv, at, tiling.value_lanes), DType::kF32)));
    }
    for (int64_t g = 0; g < block; ++g) {
      ExprRef weight = k().load(memory.scores, weights + g * span_tokens() + token);
      weight = k().let("weight", broadcast(weight, tiling.value_lanes));
      for (int64_t c = 0; c < chunks; ++c) {
        ExprRef at = int_const(g * chunks + c);
        k().store(acc, at, fma(weight, value[static_cast<size_t>(c)], k().load(acc, at)));
      }
    }
  });
}

void Attention::accumulate_values(const AttentionRun& run, const AttentionSpan& span) const {
  const int64_t block = value_block(run.max_rows * tiling.sharing), chunks = value_chunks();
  for_each_tile(run, block, [&](const ExprRef& first, const ExprRef& column, const Place& place) {
    BufferRef acc = k().registers("acc", {DType::kF32, tiling.value_lanes}, block * chunks);
    for (int64_t g = 0; g < block; ++g) {
      ExprRef correction =
          k().let("correction", broadcast(k().load(memory.corrections, first + g), tiling.value_lanes));
      for (int64_t c = 0; c < chunks; ++c)
        k().store(acc, int_const(g * chunks + c),
                  k().load(memory.weighted, place(g, c), tiling.value_lanes) * correction);
    }
    for_each_page(span, [&](ExprRef p) {
      accumulate_page(run, k().let("page", span.first_page + p), p, acc, first, block, column);
    });
    for (int64_t g = 0; g < block; ++g)
      for (int64_t c = 0; c < chunks; ++c)
        k().store(memory.weighted, place(g, c), k().load(acc, int_const(g * chunks + c)));
  });
}

}  // namespace mlc::kernel
