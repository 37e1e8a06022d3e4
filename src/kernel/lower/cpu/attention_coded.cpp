// attention over a cache of int8 codes: q and the softmax's weights become 16-bit codes, so that K and V are
// widened once for all queries that share them and products are pairs of i16 summed in i32, exactly.
//
// q . k: a head's codes are q / max|q| * L with L = min(32767, (2^31 - 1) / (127 key_dim)), so that key_dim
// products with |codes of k| <= 127 fit into i32; what is lost is half a step of q, max|q| / (2 L) an
// element.
//
// weights . v: a weight meets its value's scale first; the codes of a query and span are u / max u * 32767, u
// = exp(score - largest of the span) * scale >= 0. A span's sum is at most 128 * 32767 * 127 < 2^31; half a
// step is 2^-16 of the largest u. Weights of tokens that a query does not see are 0, and codes are finite
// whatever lies in unused slots.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernel/lower/cpu/attention.h"
#include "kernel/lower/cpu/quantize.h"

namespace mlc::kernel {
namespace {

constexpr double kMostCode = 32767;

// Steps of a loop over `count` that one iteration takes.
int64_t unrolled(int64_t count, int64_t most) {
  while (count % most != 0) --most;
  return most;
}

}  // namespace

void Attention::allocate_codes(int64_t most, AttentionMemory& m) const {
  internal_check(key_dim() % 2 == 0, "attention: codes of keys lie in pairs, the head is odd");
  internal_check(span_tokens() * kMostCode * 127 < 0x1p31, "attention: a span's sums do not fit into i32");
  if (codes_queries()) {
    m.query_codes = k().shared("query_codes", DType::kU8, most * key_dim() * 2);
    m.query_scales = k().shared("query_scales", DType::kF32, most);
  }
  m.weight_codes = k().shared("weight_codes", DType::kU8, most * span_tokens() * 2);
  m.gains = k().shared("gains", DType::kF32, most);
  m.span_max = k().shared("tops", DType::kF32, most);
  m.shares = k().shared("shares", DType::kF32, most);
  m.value_scales = k().shared("value_scales", DType::kF32, span_tokens());
}

// Codes of the query head that begins at q[from], times the node's scale.
void Attention::code_query(const ExprRef& from, const ExprRef& query) const {
  const Type ints{DType::kI32, tiling.value_lanes};
  const double limit = std::min(kMostCode, std::floor((0x1p31 - 1) / (127.0 * key_dim())));
  BufferRef largest = k().registers("largest", ints, 1);
  k().store(largest, int_const(0), int_const(0, ints));
  auto value = [&](const ExprRef& d, int n) { return low.load(call.q, from + d, n); };
  k().vector_loop("d", int_const(key_dim()), tiling.value_lanes, [&](ExprRef d, int n) {
    k().store(largest, int_const(0),
              binary(BinaryOp::kMax, k().load(largest, int_const(0)), magnitude_bits(value(d, n))));
  });
  ExprRef all = k().load(largest, int_const(0));
  ExprRef bits = k().let("bits", tiling.value_lanes == 1 ? all : reduce(BinaryOp::kMax, all));
  ExprRef top = k().let("top", bitcast(bits, {DType::kF32, 1}));  // NaN or infinity if an element is
  ExprRef finite = less(bits, int_const(0x7F800000));
  ExprRef step = select(finite, top * (low.node.get_double("scale") / limit), float_const(__builtin_nan("")));
  k().store(memory.query_scales, query, step);
  ExprRef inverse = k().let("inverse", float_const(limit) / top);
  k().vector_loop("d", int_const(key_dim()), tiling.value_lanes, [&](ExprRef d, int n) {
    // 0 * infinity becomes a limit, which a step of 0 makes 0 again.
    ExprRef code =
        binary(BinaryOp::kMax, value(d, n) * broadcast(inverse, n), float_const(-limit, {DType::kF32, n}));
    code = unary(UnaryOp::kRoundEven, binary(BinaryOp::kMin, code, float_const(limit)));
    k().store(memory.query_codes, (query * key_dim() + d) * 2, cast(cast(code, DType::kI32), DType::kI16));
  });
}

// Keeps the scales of the page's values, 0 for tokens past the run's limit, and gives those of its
// keys, per vector.
std::vector<ExprRef> Attention::enter_scales(const AttentionRun& run, const ExprRef& base,
                                             const ExprRef& in_span,
                                             const std::vector<ExprRef>& indices) const {
  std::vector<ExprRef> keys;
  for (bool values : {false, true}) {
    for (int64_t v = 0; v < page_vectors(); ++v) {
      ExprRef at = low.pages().scale(base, values, run.kv_head, int_const(v * tiling.token_lanes));
      ExprRef scales = k().let("scales", k().load_as({DType::kF32, tiling.token_lanes}, call.kv, at));
      if (!values) {
        keys.push_back(scales);
        continue;
      }
      ExprRef limit = broadcast(cast(run.limit, DType::kI32), tiling.token_lanes);
      ExprRef seen = less(indices[static_cast<size_t>(v)], limit);
      k().store(memory.value_scales, in_span * cache.page_size + v * tiling.token_lanes,
                select(seen, scales, float_const(0, scales->type)));
    }
  }
  return keys;
}

// While one row's span is read, that many pages ahead are prefetched: what its head has of half a page while
// the keys of a page are read, and of another half while the values are. So memory is busy all the time with
// runs long enough for the prefetchers of CPUs to take up.
void Attention::prefetch_half_page(const ExprRef& ahead, const ExprRef& step, int64_t steps) const {
  if (!ahead) return;
  const int64_t lines = (coded_head_bytes(cache) / 2 + 63) / 64, each = (lines + steps - 1) / steps;
  for (int64_t i = 0; i < each; ++i) k().prefetch(call.kv, ahead + step * (each * 64) + i * 64, 3);
}

// What prefetch_half_page() wants for the n-th of the span's phases per page, in 0 .. 2 * span_pages - 1;
// null with many rows.
ExprRef Attention::half_page_ahead(const AttentionRun& run, const ExprRef& span_page,
                                   const ExprRef& n) const {
  if (run.max_rows > 1) return nullptr;
  ExprRef page = binary(BinaryOp::kMin, span_page + tiling.span_pages + n / 2, run.pages - 1);
  ExprRef head = base_of(run, page) + run.kv_head * coded_head_bytes(cache);
  return k().let("ahead", head + n % 2 * (coded_head_bytes(cache) / 2));
}

void Attention::score_codes(const AttentionRun& run, const ExprRef& base, const ExprRef& ahead,
                            const ExprRef& first_query, int64_t block, const PutScores& put) const {
  const int64_t vectors = page_vectors(), ways = chains(), pairs = key_dim() / 2, step = unrolled(pairs, 8);
  const Type ints{DType::kI32, tiling.token_lanes}, shorts{DType::kI16, 2 * tiling.token_lanes};
  ExprRef keys = k().let("keys", low.pages().key(base, run.kv_head, int_const(0), int_const(0)));
  ExprRef query_at = k().let("query_at", first_query * (2 * key_dim()));
  BufferRef acc = k().registers("dot", ints, block * ways * vectors);
  auto slot = [&](int64_t g, int64_t c, int64_t v) { return int_const((g * ways + c) * vectors + v); };
  for (int64_t i = 0; i < block * ways * vectors; ++i) k().store(acc, int_const(i), int_const(0, ints));
  k().loop("i", 0, pairs / step, LoopKind::kSerial, [&](ExprRef i) {
    ExprRef pair = k().let("pair", i * step);
    prefetch_half_page(ahead, i, pairs / step);
    for (int64_t e = 0; e < step; ++e) {
      std::vector<ExprRef> key;
      for (int64_t v = 0; v < vectors; ++v) {
        ExprRef at = keys + (pair + e) * (2 * cache.page_size) + 2 * v * tiling.token_lanes;
        key.push_back(k().let(
            "key", cast(k().load_as({DType::kI8, 2 * tiling.token_lanes}, call.kv, at), DType::kI16)));
      }
      for (int64_t g = 0; g < block; ++g) {
        ExprRef at = query_at + 2 * g * key_dim() + (pair + e) * 4;
        ExprRef query = broadcast(k().load_as({DType::kI32, 1}, memory.query_codes, at), tiling.token_lanes);
        query = bitcast(vectors > 1 ? k().let("query", query) : query, shorts);
        for (int64_t v = 0; v < vectors; ++v) {
          ExprRef to = slot(g, e % ways, v);
          k().store(acc, to, k().load(acc, to) + dot2_i16(key[static_cast<size_t>(v)], query));
        }
      }
    }
  });
  for (int64_t g = 0; g < block; ++g)
    for (int64_t v = 0; v < vectors; ++v) {
      ExprRef sum = k().load(acc, slot(g, 0, v));
      if (ways == 2) sum = sum + k().load(acc, slot(g, 1, v));
      put(g, v, k().let("score", cast(sum, DType::kF32)));
    }
}

// Codes a query's scaled weights of the span; sums and gains follow. total: of weights, lanewise; largest:
// the scaled weights' magnitude_bits, lanewise.
void Attention::finish_weights(const ExprRef& query, const ExprRef& vectors, const ExprRef& total,
                               const ExprRef& largest) const {
  ExprRef first = k().let("scores_at", score_at(query)),
          sum_at = k().let("sum_at", query * tiling.token_lanes);
  ExprRef bits = tiling.token_lanes == 1 ? largest : reduce(BinaryOp::kMax, largest);
  ExprRef most = k().let("most", bitcast(bits, {DType::kF32, 1}));
  ExprRef inverse = k().let("inverse", broadcast(float_const(kMostCode) / most, tiling.token_lanes));
  k().loop("v", int_const(0), vectors, LoopKind::kSerial, [&](ExprRef v) {
    ExprRef at = k().let("at", first + v * tiling.token_lanes);
    // 0 * infinity becomes the largest code, which a gain of 0 makes 0 again.
    ExprRef code = binary(BinaryOp::kMin, k().load(memory.scores, at, tiling.token_lanes) * inverse,
                          float_const(kMostCode));
    k().store(memory.weight_codes, at * 2,
              cast(cast(unary(UnaryOp::kRoundEven, code), DType::kI32), DType::kI16));
  });
  ExprRef share = k().let("share", k().load(memory.shares, query));
  ExprRef earlier = k().load(memory.sums, sum_at, tiling.token_lanes) * k().load(memory.corrections, query);
  k().store(memory.sums, sum_at, fma(total, broadcast(share, tiling.token_lanes), earlier));
  k().store(memory.gains, query, share * (most / kMostCode));
}

// The scores of together() queries become codes of exp(score - largest of the span) times the value's scale.
void Attention::code_weights(const ExprRef& first_query, const ExprRef& vectors) const {
  const Type floats{DType::kF32, tiling.token_lanes}, ints{DType::kI32, tiling.token_lanes};
  ExprRef first = k().let("scores_at", score_at(first_query));
  BufferRef total = k().registers("total", floats, together()),
            largest = k().registers("largest", ints, together());
  std::vector<ExprRef> top;
  for (int64_t g = 0; g < together(); ++g) {
    top.push_back(k().let("top", k().load(memory.span_max, first_query + g)));
    k().store(total, int_const(g), float_const(0, floats));
    k().store(largest, int_const(g), int_const(0, ints));
  }
  k().loop("v", int_const(0), vectors, LoopKind::kSerial, [&](ExprRef v) {
    ExprRef offset = k().let("offset", v * tiling.token_lanes);
    for (int64_t g = 0; g < together(); ++g) {
      ExprRef at = k().let("at", first + offset + g * span_tokens()), slot = int_const(g);
      ExprRef over =
          k().let("over", k().load(memory.scores, at, tiling.token_lanes) - top[static_cast<size_t>(g)]);
      ExprRef weight = k().let("weight", softmax_weight(low, over));
      k().store(total, slot, k().load(total, slot) + weight);
      ExprRef scaled = weight * k().load(memory.value_scales, offset, tiling.token_lanes);
      ExprRef matters = binary(BinaryOp::kGt, weight, float_const(0));  // a scale that is not seen may be NaN
      scaled = k().let("scaled", select(matters, scaled, float_const(0, floats)));
      k().store(memory.scores, at, scaled);
      k().store(largest, slot, binary(BinaryOp::kMax, k().load(largest, slot), magnitude_bits(scaled)));
    }
  });
  for (int64_t g = 0; g < together(); ++g) {
    ExprRef slot = int_const(g), query = k().let("query", first_query + g);
    finish_weights(query, vectors, k().load(total, slot), k().load(largest, slot));
  }
}

// Scores become codes of weights; shares bring a span to the maximum so far.
void Attention::online_softmax_of_codes(const AttentionRun& run, const ExprRef& pages) const {
  ExprRef count = k().let("vectors", pages * page_vectors());
  for_some_queries(run, [&](ExprRef first) {
    std::vector<ExprRef> largest = largest_scores(first, count);
    for (int64_t g = 0; g < together(); ++g) {
      ExprRef query = first + g, earlier = k().let("earlier", k().load(memory.running_max, query));
      k().store(memory.previous_max, query, earlier);
      k().store(memory.span_max, query, largest[static_cast<size_t>(g)]);
      k().store(memory.running_max, query, binary(BinaryOp::kMax, earlier, largest[static_cast<size_t>(g)]));
    }
  });
  exponentials(run, memory.corrections, memory.previous_max);
  exponentials(run, memory.shares, memory.span_max);
  for_some_queries(run, [&](ExprRef first) { code_weights(first, count); });
}

void Attention::accumulate_coded_page(const AttentionRun& run, const ExprRef& page, const ExprRef& in_span,
                                      const ExprRef& ahead, const BufferRef& acc, const ExprRef& first_query,
                                      int64_t block, const ExprRef& first_column) const {
  const int64_t chunks = value_chunks(), pairs = cache.page_size / 2, step = unrolled(pairs, 4);
  ExprRef values = low.pages().value(base_of(run, page), run.kv_head, int_const(0));
  values = k().let("values", values + first_column * 2);
  ExprRef weights = k().let("weights", (score_at(first_query) + in_span * cache.page_size) * 2);
  k().loop("i", 0, pairs / step, LoopKind::kSerial, [&](ExprRef i) {
    ExprRef first = k().let("pair", i * step);
    prefetch_half_page(ahead, i, pairs / step);
    for (int64_t e = 0; e < step; ++e) {
      ExprRef pair = first + e, row = pair * (2 * key_dim());
      std::vector<ExprRef> value;
      for (int64_t c = 0; c < chunks; ++c) {
        ExprRef at = values + row + 2 * c * tiling.value_lanes;
        value.push_back(k().let(
            "value", cast(k().load_as({DType::kI8, 2 * tiling.value_lanes}, call.kv, at), DType::kI16)));
      }
      for (int64_t g = 0; g < block; ++g) {
        ExprRef two =
            k().load_as({DType::kI32, 1}, memory.weight_codes, weights + 2 * g * span_tokens() + pair * 4);
        ExprRef weight = k().let(
            "weight", bitcast(broadcast(two, tiling.value_lanes), {DType::kI16, 2 * tiling.value_lanes}));
        for (int64_t c = 0; c < chunks; ++c) {
          ExprRef to = int_const(g * chunks + c);
          k().store(acc, to, k().load(acc, to) + dot2_i16(value[static_cast<size_t>(c)], weight));
        }
      }
    }
  });
}

void Attention::accumulate_coded_values(const AttentionRun& run, const AttentionSpan& span) const {
  const int64_t block = value_block(run.max_rows * tiling.sharing), chunks = value_chunks();
  const Type ints{DType::kI32, tiling.value_lanes};
  for_each_tile(run, block, [&](const ExprRef& first, const ExprRef& column, const Place& place) {
    BufferRef acc = k().registers("acc", ints, block * chunks);
    for (int64_t i = 0; i < block * chunks; ++i) k().store(acc, int_const(i), int_const(0, ints));
    for_each_page(span, [&](ExprRef p) {
      ExprRef ahead = half_page_ahead(run, span.first_page, p + tiling.span_pages);
      accumulate_coded_page(run, k().let("page", span.first_page + p), p, ahead, acc, first, block, column);
    });
    for (int64_t g = 0; g < block; ++g) {
      ExprRef correction =
          k().let("correction", broadcast(k().load(memory.corrections, first + g), tiling.value_lanes));
      ExprRef gain = k().let("gain", broadcast(k().load(memory.gains, first + g), tiling.value_lanes));
      for (int64_t c = 0; c < chunks; ++c) {
        ExprRef earlier = k().load(memory.weighted, place(g, c), tiling.value_lanes) * correction;
        k().store(memory.weighted, place(g, c),
                  fma(cast(k().load(acc, int_const(g * chunks + c)), DType::kF32), gain, earlier));
      }
    }
  });
}

}  // namespace mlc::kernel
