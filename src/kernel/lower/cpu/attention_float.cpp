// attention over a cache of floats: products and weighted sums in f32. Also the rotation of keys that are stored unrotated, of
// either kind of cache: they meet the queries as floats.
#include <algorithm>

#include "kernel/lower/cpu/attention.h"

namespace mlc::kernel {

// Sets the page's part of the window; of its first `count` tokens the number that are live.
ExprRef Attention::enter_page(const ExprRef& page, const ExprRef& count) {
  ExprRef first = k().let("first", page * double(cache.page_size));
  auto inside = [&](const ExprRef& x) {
    return binary(BinaryOp::kMin, binary(BinaryOp::kMax, x, int_const(0)), count);
  };
  window.page_begin = k().let("page_begin", inside(window.begin - first));
  ExprRef end = inside(window.begin + window.dropped - first);
  window.page_gap = k().let("page_gap", end - window.page_begin);
  return k().let("live", count - window.page_gap);
}

void Attention::rotate_keys(const Run& run, const ExprRef& base, const std::vector<ExprRef>& indices) {
  ExprRef stored = k().let("stored_keys", base + key_offset(cache, run.kv_head, int_const(0), int_const(0)));
  const int64_t half = window.rotation.rotary_dim / 2, size = cache.page_size;
  const bool pairs = window.rotation.interleaved;
  for (int64_t v = 0; v < page_vectors(); ++v) {
    const ExprRef& position = indices[static_cast<size_t>(v)];
    ExprRef limit = cast(run.last, DType::kI32);
    ExprRef seen = k().let("seen", binary(BinaryOp::kLe, position, broadcast(limit, token_lanes)));
    ExprRef row = select(seen, position, int_const(0, position->type)) * double(window.factors.row_stride);
    ExprRef factors = k().let("factors", row + double(window.factors.column_offset));
    auto at = [&](const ExprRef& d) { return d * double(size) + double(v * token_lanes); };
    auto key = [&](const ExprRef& d) {
      if (is_coded(cache)) return load_key_codes(low, kv, stored, d, int_const(v * token_lanes), token_lanes);
      return low.load_f32(kv, stored + at(d), token_lanes);
    };
    auto factor = [&](const ExprRef& d) {
      ExprRef column = factors + broadcast(cast(d, DType::kI32), token_lanes);
      return token_lanes == 1 ? k().load(window.factors.buffer, cast(column, DType::kI64))
                              : k().gather(window.factors.buffer, column, nullptr);
    };
    k().loop("d", 0, half, LoopKind::kSerial, [&](ExprRef d) {
      ExprRef first = k().let("first", pairs ? d * 2.0 : d);
      ExprRef second = k().let("second", pairs ? d * 2.0 + 1.0 : d + double(half));
      ExprRef cosine = k().let("cosine", factor(d)), sine = k().let("sine", factor(d + double(half)));
      ExprRef a = k().let("a", key(first)), b = k().let("b", key(second));
      k().store(window.keys, at(first), a * cosine - b * sine);
      k().store(window.keys, at(second), b * cosine + a * sine);
    });
    k().loop("d", 2 * half, head_dim() - 2 * half, LoopKind::kSerial,
             [&](ExprRef d) { k().store(window.keys, at(d), key(d)); });
  }
}

// Calls put(query of the block, vector of the page, scores).
void Attention::score_queries(const Run& run, const ExprRef& page, const ExprRef& base, const ExprRef& first_query,
                              int64_t block, const PutScores& put) {
  const int64_t vectors = page_vectors(), ways = chains();
  // Enough of the head per iteration to touch whole cache lines.
  int64_t step = std::max<int64_t>(ways, 64 / (cache.page_size * size_of(cache.dtype)));
  while (head_dim() % step != 0) step -= ways;
  ExprRef keys = rotates_keys()
                     ? int_const(0)
                     : k().let("keys", base + key_offset(cache, run.kv_head, int_const(0), int_const(0)));
  ExprRef query_at = k().let("query_at", first_query * double(head_dim()));
  BufferRef acc = k().registers("dot", {DType::kF32, token_lanes}, block * ways * vectors);
  auto slot = [&](int64_t g, int64_t c, int64_t v) { return int_const((g * ways + c) * vectors + v); };
  for (int64_t i = 0; i < block * ways * vectors; ++i)
    k().store(acc, int_const(i), float_const(0, {DType::kF32, token_lanes}));
  const bool alone = run.max_rows == 1;  // rows that share loads find most of them in cache
  ExprRef ahead;
  if (alone) ahead = k().let("ahead", ahead_of(run, page) + key_offset(cache, run.kv_head, int_const(0), int_const(0)));
  k().loop("i", 0, head_dim() / step, LoopKind::kSerial, [&](ExprRef i) {
    ExprRef d = k().let("d", i * double(step));
    if (alone) prefetch(ahead, d * double(cache.page_size), step * cache.page_size);
    for (int64_t e = 0; e < step; ++e) {
      std::vector<ExprRef> key;
      for (int64_t v = 0; v < vectors; ++v) {
        ExprRef at = keys + (d + double(e)) * double(cache.page_size) + double(v * token_lanes);
        key.push_back(k().let("key", rotates_keys() ? k().load(window.keys, at, token_lanes)
                                                    : low.load_f32(kv, at, token_lanes)));
      }
      for (int64_t g = 0; g < block; ++g) {
        ExprRef query = k().load(queries, query_at + double(g * head_dim()) + d + double(e));
        query = k().let("query", broadcast(query, token_lanes));
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
void Attention::soften(const Run& run, const ExprRef& pages) {
  const Type vector{DType::kF32, token_lanes};
  ExprRef count = k().let("vectors", pages * double(page_vectors()));
  ExprRef total_queries = run.rows * double(sharing);
  for_some_queries(run, [&](ExprRef first) {
    std::vector<ExprRef> largest = largest_scores(first, count);
    for (int64_t g = 0; g < together(); ++g) {
      ExprRef query = first + double(g), earlier = k().let("earlier", k().load(now, query));
      k().store(before, query, earlier);
      k().store(now, query, binary(BinaryOp::kMax, earlier, largest[static_cast<size_t>(g)]));
    }
  });
  exponentials(run, corrections, before);
  k().loop("query", int_const(0), total_queries, LoopKind::kSerial, [&](ExprRef query) {
    ExprRef first = k().let("scores_at", score_at(query)), sum_at = k().let("sum_at", query * double(token_lanes));
    ExprRef maximum = k().let("maximum", k().load(now, query));
    BufferRef total = k().registers("total", vector, 1);
    k().store(total, int_const(0), k().load(sums, sum_at, token_lanes) * k().load(corrections, query));
    k().loop("v", int_const(0), count, LoopKind::kSerial, [&](ExprRef v) {
      ExprRef at = k().let("at", first + v * double(token_lanes));
      ExprRef weight = k().let("weight", softmax_weight(low, k().let("over", k().load(scores, at, token_lanes) - maximum)));
      k().store(scores, at, weight);
      k().store(total, int_const(0), k().load(total, int_const(0)) + weight);
    });
    k().store(sums, sum_at, k().load(total, int_const(0)));
  });
}

void Attention::weigh_page(const Run& run, const ExprRef& page, const ExprRef& in_span, const BufferRef& acc,
                           const ExprRef& first_query, int64_t block, const ExprRef& first_column) {
  const int64_t chunks = head_chunks();
  ExprRef values = k().let("values", base_of(run, page) + value_offset(cache, run.kv_head, int_const(0)) + first_column);
  ExprRef weights = k().let("weights", score_at(first_query) + in_span * double(cache.page_size));
  ExprRef count = binary(BinaryOp::kMin, int_const(cache.page_size), run.length - page * double(cache.page_size));
  if (windowed()) count = enter_page(page, k().let("count", count));
  ExprRef ahead;
  if (run.max_rows == 1)
    ahead = k().let("ahead", ahead_of(run, page) + value_offset(cache, run.kv_head, int_const(0)) + first_column);
  k().loop("t", int_const(0), count, LoopKind::kSerial, [&](ExprRef t) {
    ExprRef token = t;
    if (ahead) prefetch(ahead, t * double(head_dim()), chunks * head_lanes);
    if (windowed()) token = k().let("token", t + select(less(t, window.page_begin), int_const(0), window.page_gap));
    std::vector<ExprRef> value;
    for (int64_t c = 0; c < chunks; ++c) {
      ExprRef at = values + token * double(head_dim()) + double(c * head_lanes);
      value.push_back(k().let("value", low.load_f32(kv, at, head_lanes)));
    }
    for (int64_t g = 0; g < block; ++g) {
      ExprRef weight = k().load(scores, weights + double(g * span_tokens()) + token);
      weight = k().let("weight", broadcast(weight, head_lanes));
      for (int64_t c = 0; c < chunks; ++c) {
        ExprRef at = int_const(g * chunks + c);
        k().store(acc, at, fma(weight, value[static_cast<size_t>(c)], k().load(acc, at)));
      }
    }
  });
}

void Attention::weigh(const Run& run, const ExprRef& first_page, const ExprRef& pages) {
  const int64_t block = weigh_block(run.max_rows * sharing), chunks = head_chunks();
  for_each_tile(run, block, [&](const ExprRef& first, const ExprRef& column, const Place& place) {
    BufferRef acc = k().registers("acc", {DType::kF32, head_lanes}, block * chunks);
    for (int64_t g = 0; g < block; ++g) {
      ExprRef correction = k().let("correction", broadcast(k().load(corrections, first + double(g)), head_lanes));
      for (int64_t c = 0; c < chunks; ++c)
        k().store(acc, int_const(g * chunks + c), k().load(weighted, place(g, c), head_lanes) * correction);
    }
    k().loop("p", int_const(0), pages, LoopKind::kSerial, [&](ExprRef p) {
      weigh_page(run, k().let("page", first_page + p), p, acc, first, block, column);
    });
    for (int64_t g = 0; g < block; ++g)
      for (int64_t c = 0; c < chunks; ++c)
        k().store(weighted, place(g, c), k().load(acc, int_const(g * chunks + c)));
  });
}

}  // namespace mlc::kernel
