// attention: flash attention over the paged cache. A tile is a block of rows and one key/value head with all its query
// heads; rows of one sequence that follow each other (a run) share every load of K and V.
//
// A query is a row's query head. Per span of a few pages: scores, with lanes along the tokens of a page (K lies so,
// lower/cache.h), so that no score needs a sum across lanes; once per span the running maximum and sum of each query
// (online softmax, Milakov and Gimelshein 2018); then the weighted values, with lanes along the head. A query's result
// does not depend on what else is in its tile: tokens past its position get weight 0, which changes no bit.
//
// Slots that hold no token may hold anything: their scores are dropped by a select, their values are never read. With a
// sliding window (graph/ops/attention.cpp) dropped tokens are such slots. Keys that are stored unrotated are rotated
// once per page, run and key/value head, into shared memory.
//
// attention_part (one row) has tiles of a part of the sequence and a key/value head.
#include <algorithm>
#include <limits>

#include "base/check.h"
#include "kernel/lower/cache.h"

namespace mlc::kernel {
namespace {

// Below every score and finite, so that the difference of two maxima is never NaN.
constexpr double kLowest = -3e38;
constexpr int64_t kTileQueries = 24;  // two register tiles of 12 on 32 registers; 24 heads of 64 take 6 KB of L1
constexpr int64_t kAhead = 2;         // pages: some 300 ns, more than memory takes to answer
constexpr int64_t kSpanPages = 4;     // 64 tokens: a softmax step costs about as much as the scores of one page

// The sequence's dropped tokens, and the page's part of them.
struct Window {
  BufferRef skip_begin, skip_count;  // null without a window
  Matrix factors;                    // of keys; its buffer is null without rotation
  Rotation rotation;
  BufferRef keys;                // shared: [head_dim][page_size], rotated
  ExprRef begin, dropped;        // of the sequence: storage indices begin .. begin + dropped
  ExprRef page_begin, page_gap;  // of the page: offsets page_begin .. page_begin + page_gap
};

// Rows of one sequence, in a tile.
struct Run {
  ExprRef first_row, rows, kv_head;
  ExprRef sequence;  // set only with a window
  ExprRef last;      // the largest position
  ExprRef first_page, pages, length;  // index into page_ids; pages and storage slots up to `last`
  int64_t max_rows = 1;
  ExprRef part;  // attention_part's, else null
};

// Queries of a register tile, so that `count` queries make tiles of equal size with at most `most` each.
int64_t block_size(int64_t count, int64_t most) {
  int64_t blocks = (count + most - 1) / most;
  return (count + blocks - 1) / blocks;
}

struct Attention {
  Lowering& low;
  const graph::KvCache& cache;
  Matrix q;
  BufferRef sequences, positions, indptr, page_ids, kv;
  Matrix out;
  Window window;
  int64_t sharing = 1;  // query heads per key/value head
  int64_t rows = 1;     // of a tile, at most
  int token_lanes = 1, head_lanes = 1;
  // Shared, per query of the tile: q * scale [head_dim], position, scores of a span, sum of weighted values [head_dim],
  // largest score before and after the span, exp(before - after), sum of weights [token_lanes].
  BufferRef queries, limits, scores, weighted, before, now, corrections, sums;
  BufferRef value_scales;  // shared, of the tokens of a span; null unless the cache is coded

  KernelBuilder& k() { return low.k; }
  int64_t head_dim() const { return cache.head_dim; }
  int64_t page_vectors() const { return cache.page_size / token_lanes; }
  int64_t accumulators() const { return low.target.vector_registers >= 32 ? 24 : 12; }
  // A chain of dependent multiply-adds is shorter where a page is one vector.
  int64_t chains() const { return page_vectors() == 1 && head_dim() % 2 == 0 ? 2 : 1; }
  int64_t head_chunks() const;
  int64_t score_block(int64_t count) const {
    return block_size(count, std::max<int64_t>(1, accumulators() / (chains() * page_vectors())));
  }
  int64_t weigh_block(int64_t count) const {
    return block_size(count, std::max<int64_t>(1, accumulators() / head_chunks()));
  }
  ExprRef q_column(const ExprRef& kv_head, const ExprRef& g) {
    return (kv_head * double(sharing) + g) * double(head_dim());
  }
  ExprRef score_at(const ExprRef& query) { return query * double(kSpanPages * cache.page_size); }
  bool windowed() const { return window.skip_begin != nullptr; }
  bool rotates_keys() const { return window.factors.buffer != nullptr; }
  ExprRef index(const BufferRef& b, ExprRef at) { return cast(k().load(b, std::move(at)), DType::kI64); }
  ExprRef base_of(const Run& run, const ExprRef& page) {
    return k().let("base", page_base(low, index(page_ids, run.first_page + page)));
  }

  void allocate();
  void locate(Run& run);
  ExprRef enter_page(const ExprRef& page, const ExprRef& count);
  std::vector<ExprRef> token_indices(const ExprRef& page);
  void rotate_keys(const Run& run, const ExprRef& base, const std::vector<ExprRef>& indices);
  void begin(const Run& run);
  void prefetch(const ExprRef& page_ahead, const ExprRef& at, int64_t elements);
  ExprRef ahead_of(const Run& run, const ExprRef& page);
  std::vector<ExprRef> enter_scales(const Run& run, const ExprRef& page, const ExprRef& base, const ExprRef& in_span);
  void score_page(const Run& run, const ExprRef& page, const ExprRef& in_span);
  void score_queries(const Run& run, const ExprRef& page, const ExprRef& base, const ExprRef& first_query, int64_t block,
                     const std::function<void(int64_t, int64_t, ExprRef)>& put);
  void soften(const Run& run, const ExprRef& pages);
  void weigh(const Run& run, const ExprRef& first_page, const ExprRef& pages);
  void weigh_page(const Run& run, const ExprRef& page, const ExprRef& in_span, const BufferRef& acc,
                  const ExprRef& first_query, int64_t block, const ExprRef& first_column);
  void finish(const Run& run);
  void attend(Run run);
  void block(const ExprRef& first, const ExprRef& kv_head);
  template <typename Body>
  void for_each_query(const Run& run, const Body& body) {  // body(row of the run, head of the kv head, query)
    k().loop("row", int_const(0), run.rows, LoopKind::kSerial, [&](ExprRef r) {
      k().loop("g", 0, sharing, LoopKind::kSerial,
               [&](ExprRef g) { body(r, g, k().let("query", r * double(sharing) + g)); });
    });
  }
};

int64_t Attention::head_chunks() const {
  int64_t chunks = std::min<int64_t>(4, head_dim() / head_lanes);
  while (head_dim() / head_lanes % chunks != 0) --chunks;
  return chunks;
}

void Attention::allocate() {
  // Register tiles may reach past the last query: what they compute there is never used.
  int64_t count = rows * sharing;
  int64_t most = count + std::max<int64_t>({score_block(count), weigh_block(count), int64_t{low.lanes()}});
  queries = k().shared("queries", DType::kF32, most * head_dim());
  limits = k().shared("limits", DType::kI32, most);
  scores = k().shared("scores", DType::kF32, most * kSpanPages * cache.page_size);
  weighted = k().shared("weighted", DType::kF32, most * head_dim());
  before = k().shared("before", DType::kF32, most);
  now = k().shared("now", DType::kF32, most);
  corrections = k().shared("corrections", DType::kF32, most);
  sums = k().shared("sums", DType::kF32, most * token_lanes);
  if (is_coded(cache)) value_scales = k().shared("value_scales", DType::kF32, kSpanPages * cache.page_size);
  if (rotates_keys()) window.keys = k().shared("rotated_keys", DType::kF32, head_dim() * cache.page_size);
}

// Sets where the run's pages lie.
void Attention::locate(Run& run) {
  double size = static_cast<double>(cache.page_size);
  ExprRef sequence = k().let("sequence", index(sequences, run.first_row));
  ExprRef last = run.last;
  if (windowed()) {
    window.begin = k().let("skip_begin", index(window.skip_begin, sequence));
    window.dropped = k().let("skip_count", index(window.skip_count, sequence));
    last = last + select(less(last, window.begin), int_const(0), window.dropped);
  }
  run.length = k().let("length", last + 1.0);
  run.first_page = k().let("first_page", index(indptr, sequence));
  run.pages = k().let("pages", (run.length + (size - 1)) / size);
}

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

// The positions of a page's slots, i32 vectors; of a dropped one more than any position.
std::vector<ExprRef> Attention::token_indices(const ExprRef& page) {
  std::vector<ExprRef> out;
  auto wide = [&](const ExprRef& x) { return broadcast(cast(x, DType::kI32), token_lanes); };
  for (int64_t v = 0; v < page_vectors(); ++v) {
    ExprRef first = cast(page * double(cache.page_size) + double(v * token_lanes), DType::kI32);
    ExprRef slot = k().let("slot", token_lanes == 1 ? first : ramp(first, 1, token_lanes));
    if (windowed()) {
      ExprRef early = less(slot, wide(window.begin)), gone = less(slot, wide(window.begin + window.dropped));
      ExprRef late = select(gone, int_const(std::numeric_limits<int32_t>::max(), slot->type), slot - wide(window.dropped));
      slot = k().let("position", select(early, slot, late));
    }
    out.push_back(slot);
  }
  return out;
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
    auto key = [&](const ExprRef& d) { return load_cached(low, kv, stored + at(d), token_lanes); };
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

void Attention::begin(const Run& run) {
  for_each_query(run, [&](ExprRef r, ExprRef g, ExprRef query) {
    ExprRef row = run.first_row + r;
    ExprRef from = k().let("q_at", q.at(row, q_column(run.kv_head, g)));
    k().store(limits, query, k().load(positions, row));
    k().store(now, query, float_const(kLowest));
    k().store(sums, query * double(token_lanes), float_const(0, {DType::kF32, token_lanes}));
    k().vector_loop("d", int_const(head_dim()), head_lanes, [&](ExprRef d, int n) {
      ExprRef at = query * double(head_dim()) + d;
      k().store(queries, at, low.load_f32(q.buffer, from + d, n) * low.node.get_double("scale"));
      k().store(weighted, at, float_const(0, {DType::kF32, n}));
    });
  });
}

// A cache line of a page for each that is read of this one, kAhead pages earlier.
void Attention::prefetch(const ExprRef& page_ahead, const ExprRef& at, int64_t elements) {
  const int64_t line = 64 / size_of(cache.dtype);
  for (int64_t e = 0; e < elements; e += line) k().prefetch(kv, page_ahead + at + double(e), 3);
}

// The page whose lines are asked for while this one is read.
ExprRef Attention::ahead_of(const Run& run, const ExprRef& page) {
  return base_of(run, binary(BinaryOp::kMin, page + double(kAhead), run.pages - 1.0));
}

// Calls put(query of the block, vector of the page, scores).
void Attention::score_queries(const Run& run, const ExprRef& page, const ExprRef& base, const ExprRef& first_query,
                              int64_t block, const std::function<void(int64_t, int64_t, ExprRef)>& put) {
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
                                                    : load_cached(low, kv, at, token_lanes)));
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

// Keeps the scales of the page's values and gives those of its keys, both per vector; nothing unless the cache is coded.
std::vector<ExprRef> Attention::enter_scales(const Run& run, const ExprRef& page, const ExprRef& base,
                                             const ExprRef& in_span) {
  std::vector<ExprRef> keys;
  if (!is_coded(cache)) return keys;
  ExprRef ahead = run.max_rows == 1 ? k().let("scales_ahead", ahead_of(run, page)) : nullptr;
  for (bool values : {false, true}) {
    if (ahead) k().prefetch(kv, scale_index(cache, ahead, values, run.kv_head, int_const(0)), 3);
    for (int64_t v = 0; v < page_vectors(); ++v) {
      ExprRef at = scale_index(cache, base, values, run.kv_head, int_const(v * token_lanes));
      ExprRef scales = k().let("scales", k().load_as({DType::kF32, token_lanes}, kv, at));
      if (values)
        k().store(value_scales, in_span * double(cache.page_size) + double(v * token_lanes), scales);
      else
        keys.push_back(scales);
    }
  }
  return keys;
}

// in_span: the page's place among those of the span.
void Attention::score_page(const Run& run, const ExprRef& page, const ExprRef& in_span) {
  ExprRef base = base_of(run, page);
  std::vector<ExprRef> indices = token_indices(page);
  if (rotates_keys()) rotate_keys(run, base, indices);
  std::vector<ExprRef> key_scales = enter_scales(run, page, base, in_span);
  const int64_t block = score_block(run.max_rows * sharing);
  ExprRef count = (run.rows * double(sharing) + double(block - 1)) / double(block);
  k().loop("block", int_const(0), count, LoopKind::kSerial, [&](ExprRef b) {
    ExprRef first = k().let("first_query", b * double(block));
    ExprRef to = k().let("to", score_at(first) + in_span * double(cache.page_size));
    score_queries(run, page, base, first, block, [&](int64_t g, int64_t v, ExprRef score) {
      ExprRef limit = broadcast(k().load(limits, first + double(g)), token_lanes);
      ExprRef seen = binary(BinaryOp::kLe, indices[static_cast<size_t>(v)], limit);
      if (is_coded(cache)) score = score * key_scales[static_cast<size_t>(v)];
      k().store(scores, to + double(g * kSpanPages * cache.page_size + v * token_lanes),
                select(seen, score, float_const(-std::numeric_limits<double>::infinity(), score->type)));
    });
  });
}

// Scores become weights exp(score - maximum), times the scale of the value if it is coded; corrections rescale what earlier spans gave.
void Attention::soften(const Run& run, const ExprRef& pages) {
  const Type vector{DType::kF32, token_lanes};
  ExprRef count = k().let("vectors", pages * double(page_vectors()));
  ExprRef total_queries = run.rows * double(sharing);
  auto score = [&](const ExprRef& first, const ExprRef& v) {
    return k().load(scores, first + v * double(token_lanes), token_lanes);
  };
  auto horizontal = [&](BinaryOp op, const ExprRef& v) { return token_lanes == 1 ? v : reduce(op, v); };
  k().loop("query", int_const(0), total_queries, LoopKind::kSerial, [&](ExprRef query) {
    ExprRef first = k().let("scores_at", score_at(query));
    BufferRef largest = k().registers("largest", vector, 1);
    k().store(largest, int_const(0), float_const(kLowest, vector));
    k().loop("v", int_const(0), count, LoopKind::kSerial, [&](ExprRef v) {
      k().store(largest, int_const(0), binary(BinaryOp::kMax, k().load(largest, int_const(0)), score(first, v)));
    });
    ExprRef earlier = k().let("earlier", k().load(now, query));
    k().store(before, query, earlier);
    k().store(now, query,
              binary(BinaryOp::kMax, earlier, horizontal(BinaryOp::kMax, k().load(largest, int_const(0)))));
  });
  const int64_t lanes = low.lanes(), most = (run.max_rows * sharing + lanes - 1) / lanes;
  k().loop("some", 0, most, LoopKind::kSerial, [&](ExprRef i) {
    ExprRef at = k().let("at", i * double(lanes));
    ExprRef change = k().load(before, at, int(lanes)) - k().load(now, at, int(lanes));
    k().store(corrections, at, softmax_weight(low, k().let("change", change)));
  });
  k().loop("query", int_const(0), total_queries, LoopKind::kSerial, [&](ExprRef query) {
    ExprRef first = k().let("scores_at", score_at(query)), sum_at = k().let("sum_at", query * double(token_lanes));
    ExprRef maximum = k().let("maximum", k().load(now, query));
    BufferRef total = k().registers("total", vector, 1);
    k().store(total, int_const(0), k().load(sums, sum_at, token_lanes) * k().load(corrections, query));
    k().loop("v", int_const(0), count, LoopKind::kSerial, [&](ExprRef v) {
      ExprRef weight = k().let("weight", softmax_weight(low, k().let("over", score(first, v) - maximum)));
      k().store(scores, first + v * double(token_lanes),
                is_coded(cache) ? weight * k().load(value_scales, v * double(token_lanes), token_lanes) : weight);
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
      value.push_back(k().let("value", load_cached(low, kv, at, head_lanes)));
    }
    for (int64_t g = 0; g < block; ++g) {
      ExprRef weight = k().load(scores, weights + double(g * kSpanPages * cache.page_size) + token);
      weight = k().let("weight", broadcast(weight, head_lanes));
      for (int64_t c = 0; c < chunks; ++c) {
        ExprRef at = int_const(g * chunks + c);
        k().store(acc, at, fma(weight, value[static_cast<size_t>(c)], k().load(acc, at)));
      }
    }
  });
}

void Attention::weigh(const Run& run, const ExprRef& first_page, const ExprRef& pages) {
  const int64_t block = weigh_block(run.max_rows * sharing), chunks = head_chunks(), width = chunks * head_lanes;
  ExprRef count = (run.rows * double(sharing) + double(block - 1)) / double(block);
  k().loop("block", int_const(0), count, LoopKind::kSerial, [&](ExprRef b) {
    ExprRef first = k().let("first_query", b * double(block));
    k().loop("part", 0, head_dim() / width, LoopKind::kSerial, [&](ExprRef part) {
      ExprRef column = k().let("column", part * double(width));
      BufferRef acc = k().registers("acc", {DType::kF32, head_lanes}, block * chunks);
      auto place = [&](int64_t g, int64_t c) {
        return (first + double(g)) * double(head_dim()) + column + double(c * head_lanes);
      };
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
  });
}

void Attention::finish(const Run& run) {
  for_each_query(run, [&](ExprRef r, ExprRef g, ExprRef query) {
    ExprRef sum = k().load(sums, query * double(token_lanes), token_lanes);
    ExprRef total = k().let("total", token_lanes == 1 ? sum : reduce(BinaryOp::kAdd, sum));
    ExprRef row = run.part ? run.part : run.first_row + r;
    int64_t width = run.part ? head_dim() + 2 : head_dim();
    ExprRef to = k().let("to", out.at(row, (run.kv_head * double(sharing) + g) * double(width)));
    k().vector_loop("d", int_const(head_dim()), head_lanes, [&](ExprRef d, int n) {
      ExprRef value = k().load(weighted, query * double(head_dim()) + d, n);
      low.store_f32(out.buffer, to + d, run.part ? value : value / total);
    });
    if (!run.part) return;
    k().store(out.buffer, to + double(head_dim()), k().load(now, query));
    k().store(out.buffer, to + double(head_dim() + 1), total);
  });
}

void Attention::attend(Run run) {
  locate(run);
  begin(run);
  ExprRef spans = k().let("spans", (run.pages + double(kSpanPages - 1)) / double(kSpanPages)), first_span = int_const(0);
  if (run.part) {
    const double most = double(low.node.get_int("part_pages") / kSpanPages);
    first_span = k().let("first_span", run.part * most);
    spans = k().let("part_spans", binary(BinaryOp::kMin, int_const(int64_t(most)), spans - first_span));
  }
  k().loop("span", first_span, spans, LoopKind::kSerial, [&](ExprRef s) {
    ExprRef first = k().let("span_page", s * double(kSpanPages));
    ExprRef pages = k().let("span_pages", binary(BinaryOp::kMin, int_const(kSpanPages), run.pages - first));
    k().loop("p", int_const(0), pages, LoopKind::kSerial,
             [&](ExprRef p) { score_page(run, k().let("page", first + p), p); });
    soften(run, pages);
    weigh(run, first, pages);
  });
  finish(run);
}

// Cuts the block's rows into runs.
void Attention::block(const ExprRef& first, const ExprRef& kv_head) {
  ExprRef count = k().let("count", binary(BinaryOp::kMin, int_const(rows), dim_expr(q.rows) - first));
  k().loop("i", int_const(0), count, LoopKind::kSerial, [&](ExprRef i) {
    ExprRef row = k().let("row", first + i);
    ExprRef previous = binary(BinaryOp::kMax, row - 1.0, first);
    ExprRef sequence = k().let("sequence", k().load(sequences, row));
    ExprRef same = binary(BinaryOp::kEq, sequence, k().load(sequences, previous));
    ExprRef starts = select(less(int_const(0), i), select(same, int_const(0), int_const(1)), int_const(1));
    k().branch(less(int_const(0), starts), [&] {
      BufferRef length = k().registers("run_rows", {DType::kI64, 1}, 1), last = k().registers("last", {DType::kI64, 1}, 1);
      k().store(length, int_const(0), int_const(0));
      k().store(last, int_const(0), int_const(0));
      k().loop("j", int_const(0), count - i, LoopKind::kSerial, [&](ExprRef j) {
        ExprRef more = binary(BinaryOp::kEq, sequence, k().load(sequences, row + j));
        ExprRef joins = select(more, select(less(k().load(length, int_const(0)), j), int_const(0), int_const(1)), int_const(0));
        joins = k().let("joins", joins);
        k().store(length, int_const(0), k().load(length, int_const(0)) + joins);
        ExprRef position = index(positions, row + j) * joins;
        k().store(last, int_const(0), binary(BinaryOp::kMax, k().load(last, int_const(0)), position));
      });
      Run run{.first_row = row, .kv_head = kv_head, .last = k().let("last", k().load(last, int_const(0)))};
      ExprRef found = k().let("run", k().load(length, int_const(0)));
      k().branch(
          less(int_const(1), found),
          [&] {
            run.rows = found, run.max_rows = rows;
            attend(run);
          },
          [&] {
            run.rows = int_const(1), run.max_rows = 1;
            attend(run);
          });
    });
  });
}

}  // namespace

Function lower_attention(Lowering& low) {
  const graph::KvCache& cache = low.cache();
  const bool parts = low.node.op == "attention_part";
  Matrix q = low.matrix(0, "q");
  BufferRef sequences = low.vector(1, "sequences"), positions = low.vector(2, "positions");
  BufferRef indptr = low.vector(3, "page_indptr"), page_ids = low.vector(4, "page_ids");
  Window window;
  if (low.node.inputs.size() > 5) {
    window.skip_begin = low.vector(5, "skip_begin");
    window.skip_count = low.vector(6, "skip_count");
  }
  if (low.node.inputs.size() > 7) {
    window.factors = low.matrix(7, "key_factors");
    window.rotation = {cache.head_dim, low.node.get_int("rotary_dim"),
                       low.node.get_bool_or("interleaved", false)};
  }
  BufferRef kv = low.state(false);
  Attention a{low, cache, q, sequences, positions, indptr, page_ids, kv, low.result(), std::move(window)};
  a.sharing = low.node.get_int("heads") / cache.kv_heads;
  // Few rows are one token each of many sequences: tiles of one row are more tiles for the threads.
  bool many = !parts && (low.options.max_rows == 0 || low.options.max_rows > 16);
  a.rows = many ? std::clamp<int64_t>(kTileQueries / a.sharing, 1, 16) : 1;
  a.head_lanes = low.lanes_dividing(cache.head_dim);
  a.token_lanes = low.lanes_dividing(cache.page_size);
  internal_check(!parts || low.node.get_int("part_pages") % kSpanPages == 0, "attention_part: parts are whole spans");
  Dim blocks = parts ? a.out.rows : ceildiv(q.rows, a.rows);
  low.k.grid("tile", blocks * cache.kv_heads, [&](ExprRef t) {
    ExprRef block = low.k.let("block", t / double(cache.kv_heads)), kv_head = low.k.let("kv_head", t % cache.kv_heads);
    a.allocate();
    if (a.rows > 1) return a.block(low.k.let("first_row", block * double(a.rows)), kv_head);
    ExprRef row = parts || low.single_row() ? int_const(0) : block;
    a.attend({.first_row = row,
              .rows = int_const(1),
              .kv_head = kv_head,
              .last = low.k.let("last", a.index(positions, row)),
              .part = parts ? block : nullptr});
  });
  return low.k.finish();
}

}  // namespace mlc::kernel
