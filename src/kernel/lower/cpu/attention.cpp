// attention: flash attention over the paged cache. A tile is a block of rows and one key/value head with all
// its query heads; rows of one sequence that follow each other (a run) share every load of K and V.
//
// A query is a row's query head. Per span of a few pages: scores, with lanes along the tokens of a page (K
// lies so, cache.h), so that no score needs a sum across lanes; once per span the running maximum and sum of
// each query (online softmax, Milakov and Gimelshein 2018); then the weighted values, with lanes along the
// head. A query's result does not depend on what else is in its tile: tokens that it does not see get weight
// 0, which changes no bit.
//
// Slots that hold no token may hold anything: their scores are dropped by a select, their values are never
// read. With a rolling window (graph/ops/attention.cpp) dropped tokens are such slots. Keys that are stored
// unrotated are rotated once per page, run and key/value head, into shared memory.
//
// attention_part (one row) has tiles of a part of the sequence and a key/value head.
#include "kernel/lower/cpu/attention.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "kernel/lower/cpu/lowerings.h"
#include "kernel/lower/region.h"

namespace mlc::kernel {
namespace {

// Queries of a register tile, so that `count` queries make tiles of equal size with at most `most` each.
int64_t block_size(int64_t count, int64_t most) {
  int64_t blocks = (count + most - 1) / most;
  return (count + blocks - 1) / blocks;
}

}  // namespace

int64_t Attention::value_chunks() const {
  // Beside the sums a tile of codes holds the values, a weight and a product: 5 x 2, 2, 1 and 1 of 16.
  const int64_t most = is_coded(cache) && low.target.vector_registers < 32 ? 2 : 4;
  int64_t chunks = std::min(most, value_dim() / tiling.value_lanes);
  while (value_dim() / tiling.value_lanes % chunks != 0) --chunks;
  return chunks;
}

int64_t Attention::score_block(int64_t count) const {
  return block_size(count, std::max<int64_t>(1, accumulators() / (chains() * page_vectors())));
}

int64_t Attention::value_block(int64_t count) const {
  return block_size(count, std::max<int64_t>(1, accumulators() / value_chunks()));
}

AttentionMemory Attention::allocate() const {
  // Register tiles may reach past the last query: what they compute there is never used.
  int64_t count = tiling.rows * tiling.sharing;
  int64_t most = count + std::max<int64_t>({score_block(count), value_block(count), int64_t{low.lanes()}});
  AttentionMemory m;
  if (!codes_queries()) m.queries = k().shared("queries", DType::kF32, most * key_dim());
  m.limits = k().shared("limits", DType::kI32, most);
  m.scores = k().shared("scores", DType::kF32, most * span_tokens());
  m.weighted = k().shared("weighted", DType::kF32, most * value_dim());
  m.previous_max = k().shared("before", DType::kF32, most);
  m.running_max = k().shared("now", DType::kF32, most);
  m.corrections = k().shared("corrections", DType::kF32, most);
  m.sums = k().shared("sums", DType::kF32, most * tiling.token_lanes);
  if (is_coded(cache)) allocate_codes(most, m);
  if (call.mask) m.masks = k().shared("masks", DType::kI32, most);
  if (call.mask && tiling.window > 0) m.hidden = k().shared("hidden", DType::kI32, most);
  if (low.node.attributes.count("alibi")) m.slopes = k().shared("slopes", DType::kF32, most);
  if (rotates_keys()) m.rotated_keys = k().shared("rotated_keys", DType::kF32, key_dim() * cache.page_size);
  return m;
}

void Attention::initialize(const AttentionRun& run) const {
  // exponentials() takes whole vectors: lanes past the last query must not hold subnormal numbers, whose
  // arithmetic takes a hundred times as long.
  for (const BufferRef& of : {memory.previous_max, memory.running_max, memory.span_max})
    if (of)
      for (int64_t at = 0; at < softmax_lanes(run); at += low.lanes())
        k().store(of, int_const(at), float_const(kLowest, {DType::kF32, low.lanes()}));
  for_each_query(run, [&](ExprRef r, ExprRef g, ExprRef query) {
    ExprRef row = run.first_row + r;
    ExprRef from = k().let("q_at", call.q.at(row, q_column(run.kv_head, g)));
    k().store(memory.limits, query, k().load(call.limits, row));
    if (memory.masks) enter_mask(row, query);
    if (memory.slopes)
      k().store(memory.slopes, query, head_slope(k(), low.node, run.kv_head * tiling.sharing + g));
    k().store(memory.sums, query * tiling.token_lanes, float_const(0, {DType::kF32, tiling.token_lanes}));
    k().vector_loop("d", int_const(key_dim()), tiling.key_lanes, [&](ExprRef d, int n) {
      ExprRef at = query * key_dim() + d;
      if (!codes_queries())
        k().store(memory.queries, at, low.load(call.q, from + d, n) * low.node.get_double("scale"));
      if (value_dim() == key_dim()) k().store(memory.weighted, at, float_const(0, {DType::kF32, n}));
    });
    if (value_dim() != key_dim())
      k().vector_loop("d", int_const(value_dim()), tiling.value_lanes, [&](ExprRef d, int n) {
        k().store(memory.weighted, query * value_dim() + d, float_const(0, {DType::kF32, n}));
      });
    if (codes_queries()) code_query(from, query);
  });
}

// A cache line of a page for each that is read of this one, kAhead pages earlier.
void Attention::prefetch(const ExprRef& page, const ExprRef& at, int64_t elements) const {
  const int64_t line = 64 / size_of(cache.dtype);
  for (int64_t e = 0; e < elements; e += line) k().prefetch(call.kv, page + at + e, 3);
}

// The page whose lines are prefetched while this one is read.
ExprRef Attention::page_ahead(const AttentionRun& run, const ExprRef& page) const {
  return base_of(run, binary(BinaryOp::kMin, page + kAhead, run.pages - 1));
}

// in_span: the page's place among those of the span.
void Attention::score_page(const AttentionRun& run, const ExprRef& page, const ExprRef& in_span) const {
  ExprRef base = base_of(run, page);
  std::vector<ExprRef> indices = token_indices(run, page);
  if (rotates_keys()) rotate_keys(run, base, indices);
  std::vector<ExprRef> key_scales;
  if (is_coded(cache)) key_scales = enter_scales(run, base, in_span, indices);
  const int64_t block = score_block(run.max_rows * tiling.sharing);
  ExprRef ahead;
  if (codes_queries()) ahead = half_page_ahead(run, page - in_span, in_span);
  ExprRef count = (run.rows * tiling.sharing + (block - 1)) / block;
  k().loop("block", int_const(0), count, LoopKind::kSerial, [&](ExprRef b) {
    ExprRef first = k().let("first_query", b * block);
    ExprRef to = k().let("to", score_at(first) + in_span * cache.page_size);
    auto put = [&](int64_t g, int64_t v, ExprRef score) {
      ExprRef limit = k().load(memory.limits, first + g);
      if (tiling.window > 0 || memory.slopes || memory.masks) limit = k().let("limit", limit);
      if (is_coded(cache)) {
        ExprRef scale = key_scales[static_cast<size_t>(v)];
        score = score * (codes_queries() ? scale * k().load(memory.query_scales, first + g) : scale);
      }
      ExprRef slope, distance;
      if (memory.slopes) {
        slope = broadcast(k().load(memory.slopes, first + g), tiling.token_lanes);
        distance = indices[static_cast<size_t>(v)] - broadcast(limit - 1, tiling.token_lanes);
      }
      score = score_of(low, score, slope, distance);
      k().store(memory.scores, to + (g * span_tokens() + v * tiling.token_lanes),
                select(seen(indices[static_cast<size_t>(v)], first + g, limit), score,
                       float_const(-std::numeric_limits<double>::infinity(), score->type)));
    };
    if (codes_queries())
      score_codes(run, base, ahead, first, block, put);
    else if (cache.latent)
      score_latents(run, page, base, first, block, to, put);
    else
      score_queries(run, page, base, first, block, put);
  });
}

int64_t Attention::together() const {
  int64_t count = 4;
  while (tiling.sharing % count != 0) --count;
  return count;
}

void Attention::for_some_queries(const AttentionRun& run, const std::function<void(ExprRef)>& body) const {
  k().loop("some", int_const(0), run.rows * (tiling.sharing / together()), LoopKind::kSerial,
           [&](ExprRef i) { body(k().let("query", i * together())); });
}

// Of the first `vectors` vectors of each of together() queries' scores, or kLowest.
std::vector<ExprRef> Attention::largest_scores(const ExprRef& query, const ExprRef& vectors) const {
  const Type vector{DType::kF32, tiling.token_lanes};
  ExprRef first = k().let("scores_at", score_at(query));
  BufferRef largest = k().registers("largest", vector, together());
  for (int64_t g = 0; g < together(); ++g) k().store(largest, int_const(g), float_const(kLowest, vector));
  k().loop("v", int_const(0), vectors, LoopKind::kSerial, [&](ExprRef v) {
    for (int64_t g = 0; g < together(); ++g) {
      ExprRef score =
          k().load(memory.scores, first + v * tiling.token_lanes + g * span_tokens(), tiling.token_lanes);
      k().store(largest, int_const(g), binary(BinaryOp::kMax, k().load(largest, int_const(g)), score));
    }
  });
  std::vector<ExprRef> out;
  for (int64_t g = 0; g < together(); ++g) {
    ExprRef all = k().load(largest, int_const(g));
    out.push_back(k().let("top", tiling.token_lanes == 1 ? all : reduce(BinaryOp::kMax, all)));
  }
  return out;
}

// to = exp(of - now) for every query of the run.
void Attention::exponentials(const AttentionRun& run, const BufferRef& to, const BufferRef& of) const {
  const int64_t lanes = low.lanes();
  k().loop("some", 0, softmax_lanes(run) / lanes, LoopKind::kSerial, [&](ExprRef i) {
    ExprRef at = k().let("at", i * lanes);
    ExprRef change = k().load(of, at, int(lanes)) - k().load(memory.running_max, at, int(lanes));
    k().store(to, at, softmax_weight(low, k().let("change", change)));
  });
}

void Attention::for_each_tile(const AttentionRun& run, int64_t block,
                              const std::function<void(ExprRef, ExprRef, const Place&)>& body) const {
  const int64_t width = value_chunks() * tiling.value_lanes;
  ExprRef count = (run.rows * tiling.sharing + (block - 1)) / block;
  k().loop("block", int_const(0), count, LoopKind::kSerial, [&](ExprRef b) {
    ExprRef first = k().let("first_query", b * block);
    k().loop("part", 0, value_dim() / width, LoopKind::kSerial, [&](ExprRef part) {
      ExprRef column = k().let("column", part * width);
      body(first, column,
           [&](int64_t g, int64_t c) { return (first + g) * value_dim() + column + c * tiling.value_lanes; });
    });
  });
}

void Attention::store_results(const AttentionRun& run) const {
  for_each_query(run, [&](ExprRef r, ExprRef g, ExprRef query) {
    ExprRef sum = k().load(memory.sums, query * tiling.token_lanes, tiling.token_lanes);
    ExprRef total = k().let("total", tiling.token_lanes == 1 ? sum : reduce(BinaryOp::kAdd, sum));
    if (call.sinks.buffer) {
      ExprRef sink = low.load(call.sinks, run.kv_head * tiling.sharing + g);
      total = k().let("all", add_sink(low, total, k().load(memory.running_max, query), sink));
    }
    ExprRef row = run.part ? run.part : run.first_row + r;
    int64_t width = run.part ? value_dim() + 2 : value_dim();
    ExprRef to = k().let("to", call.out.at(row, (run.kv_head * tiling.sharing + g) * width));
    k().vector_loop("d", int_const(value_dim()), tiling.value_lanes, [&](ExprRef d, int n) {
      ExprRef value = k().load(memory.weighted, query * value_dim() + d, n);
      low.store(call.out, to + d, run.part ? value : value / total);
    });
    if (!run.part) return;
    k().store(call.out.buffer, to + value_dim(), k().load(memory.running_max, query));
    k().store(call.out.buffer, to + (value_dim() + 1), total);
  });
}

void Attention::attend(const AttentionRun& rows) const {
  const AttentionRun run = locate(rows);
  initialize(run);
  ExprRef spans = k().let("spans", (run.pages + (tiling.span_pages - 1)) / tiling.span_pages),
          first_span = int_const(0);
  if (run.part) {
    const int64_t most = low.node.get_int("part_pages") / tiling.span_pages;
    first_span = k().let("first_span", run.part * most);
    spans = k().let("part_spans", binary(BinaryOp::kMin, int_const(most), spans - first_span));
  }
  if (run.unseen_pages) {
    ExprRef end = k().let("end_span", first_span + spans);
    ExprRef seen = run.unseen_pages / tiling.span_pages;
    first_span = k().let("seen_span", binary(BinaryOp::kMax, first_span, seen));
    spans = k().let("seen_spans", end - first_span);
  }
  k().loop("span", first_span, spans, LoopKind::kSerial, [&](ExprRef s) {
    const AttentionSpan span = enter_span(run, s);
    for_each_page(span, [&](ExprRef p) { score_page(run, k().let("page", span.first_page + p), p); });
    if (is_coded(cache)) {
      online_softmax_of_codes(run, span.pages);
      accumulate_coded_values(run, span);
    } else {
      online_softmax(run, span.pages);
      accumulate_values(run, span);
    }
  });
  store_results(run);
}

// Cuts the block's rows into runs.
void Attention::attend_block(const ExprRef& first, const ExprRef& kv_head) const {
  ExprRef count =
      k().let("count", binary(BinaryOp::kMin, int_const(tiling.rows), dim_expr(call.q.rows) - first));
  k().loop("i", int_const(0), count, LoopKind::kSerial, [&](ExprRef i) {
    ExprRef row = k().let("row", first + i);
    ExprRef previous = binary(BinaryOp::kMax, row - 1, first);
    ExprRef sequence = k().let("sequence", k().load(call.sequences, row));
    ExprRef same = binary(BinaryOp::kEq, sequence, k().load(call.sequences, previous));
    ExprRef starts = select(less(int_const(0), i), select(same, int_const(0), int_const(1)), int_const(1));
    k().branch(less(int_const(0), starts), [&] {
      BufferRef length = k().registers("run_rows", {DType::kI64, 1}, 1),
                limit = k().registers("largest_limit", {DType::kI64, 1}, 1), least;
      k().store(length, int_const(0), int_const(0));
      k().store(limit, int_const(0), int_const(0));
      if (tiling.window > 0) {
        least = k().registers("least_limit", {DType::kI64, 1}, 1);
        k().store(least, int_const(0), index(call.limits, row));
      }
      k().loop("j", int_const(0), count - i, LoopKind::kSerial, [&](ExprRef j) {
        ExprRef more = binary(BinaryOp::kEq, sequence, k().load(call.sequences, row + j));
        ExprRef joins = select(
            more, select(less(k().load(length, int_const(0)), j), int_const(0), int_const(1)), int_const(0));
        joins = k().let("joins", joins);
        k().store(length, int_const(0), k().load(length, int_const(0)) + joins);
        ExprRef of_row = index(call.limits, row + j);
        if (least) of_row = k().let("limit", of_row);
        k().store(limit, int_const(0), binary(BinaryOp::kMax, k().load(limit, int_const(0)), of_row * joins));
        if (!least) return;
        ExprRef smaller = binary(BinaryOp::kMin, k().load(least, int_const(0)), of_row);
        k().store(least, int_const(0),
                  select(less(int_const(0), joins), smaller, k().load(least, int_const(0))));
      });
      AttentionRun run{
          .first_row = row, .kv_head = kv_head, .limit = k().let("limit", k().load(limit, int_const(0)))};
      if (least) run.least = k().let("least", k().load(least, int_const(0)));
      ExprRef found = k().let("run", k().load(length, int_const(0)));
      k().branch(
          less(int_const(1), found),
          [&] {
            run.rows = found, run.max_rows = tiling.rows;
            attend(run);
          },
          [&] {
            run.rows = int_const(1), run.max_rows = 1;
            attend(run);
          });
    });
  });
}

namespace {

AttentionBuffers declare_buffers(CpuLowering& low) {
  AttentionBuffers b;
  b.q = low.matrix(0, "q");
  b.sequences = low.vector(1, "sequences").buffer;
  b.limits = low.vector(2, "limits").buffer;
  b.indptr = low.vector(3, "page_indptr").buffer;
  b.page_ids = low.vector(4, "page_ids").buffer;
  const bool sinks = low.node.get_bool_or("sinks", false);
  const size_t rolling = low.node.inputs.size() - (sinks ? 1 : 0);  // where its operands end
  if (low.node.get_bool_or("masked", false)) {
    b.mask = low.vector(5, "mask").buffer;
  } else if (rolling > 5) {
    b.skip_begin = low.vector(5, "skip_begin").buffer;
    b.skip_count = low.vector(6, "skip_count").buffer;
  }
  if (rolling > 7) {
    b.key_factors = low.matrix(7, "key_factors");
    b.rotation = {low.cache().key_dim, low.node.get_int("rotary_dim"),
                  low.node.get_bool_or("interleaved", false)};
  }
  if (sinks) b.sinks = low.vector(rolling, "sinks");
  b.kv = low.state(false).buffer;
  b.out = low.result();
  return b;
}

AttentionTiling choose_tiling(const CpuLowering& low, bool parts) {
  const graph::PagedState& cache = low.cache();
  AttentionTiling t{.sharing = low.node.get_int("heads") / cache.kv_heads,
                    .span_pages = Attention::kSpanPages,
                    .window = low.node.get_int_or("window", 0)};
  // Few rows are one token each of many sequences: tiles of one row are more tiles for the threads.
  bool many = !parts && (low.options.max_rows == 0 || low.options.max_rows > 16);
  if (many)
    t.rows = std::clamp<int64_t>(Attention::kTileQueries / t.sharing, 1, 16);
  else if (low.node.get_int_or("part_pages", Attention::kRowSpanPages) % Attention::kRowSpanPages == 0)
    t.span_pages = Attention::kRowSpanPages;
  t.key_lanes = low.lanes_dividing(cache.key_dim);
  t.value_lanes = low.lanes_dividing(cache.value_dim);
  t.token_lanes = low.lanes_dividing(cache.page_size);
  internal_check(!parts || low.node.get_int("part_pages") % t.span_pages == 0,
                 "attention_part: parts are whole spans");
  return t;
}

}  // namespace

Function lower_attention(CpuLowering& low) {
  const bool parts = low.node.op == "attention_part";
  const int64_t kv_heads = low.cache().kv_heads;
  const AttentionBuffers call = declare_buffers(low);
  const AttentionTiling tiling = choose_tiling(low, parts);
  Dim blocks = parts ? call.out.rows : ceildiv(call.q.rows, tiling.rows);
  low.k.grid("tile", blocks * kv_heads, [&](ExprRef t) {
    ExprRef block = t / kv_heads, kv_head = t % kv_heads;
    if (parts) {  // a part asks for the keys of the next one: that is the next tile
      ExprRef count = low.k.let("parts", dim_expr(blocks));
      kv_head = t / count;
      block = binary(BinaryOp::kMod, t, count);
    }
    block = low.k.let("block", block);
    kv_head = low.k.let("kv_head", kv_head);
    const Attention attention(low, call, tiling);
    if (tiling.rows > 1) return attention.attend_block(low.k.let("first_row", block * tiling.rows), kv_head);
    ExprRef row = parts || low.single_row() ? int_const(0) : block;
    ExprRef limit = low.k.let("limit", attention.index(call.limits, row));
    attention.attend({.first_row = row,
                      .rows = int_const(1),
                      .kv_head = kv_head,
                      .limit = limit,
                      .least = limit,
                      .part = parts ? block : nullptr});
  });
  return low.k.finish();
}

}  // namespace mlc::kernel
