// attention: flash attention over the paged cache. A tile is a block of rows and one key/value head with all its query
// heads; rows of one sequence that follow each other (a run) share every load of K and V.
//
// A query is a row's query head. Per span of a few pages: scores, with lanes along the tokens of a page (K lies so,
// cache.h), so that no score needs a sum across lanes; once per span the running maximum and sum of each query
// (online softmax, Milakov and Gimelshein 2018); then the weighted values, with lanes along the head. A query's result
// does not depend on what else is in its tile: tokens past its position get weight 0, which changes no bit.
//
// Slots that hold no token may hold anything: their scores are dropped by a select, their values are never read. With a
// sliding window (graph/ops/attention.cpp) dropped tokens are such slots. Keys that are stored unrotated are rotated
// once per page, run and key/value head, into shared memory.
//
// attention_part (one row) has tiles of a part of the sequence and a key/value head.
#include "kernel/lower/cpu/attention.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "kernel/lower/cpu/lowerings.h"

namespace mlc::kernel {
namespace {

// Queries of a register tile, so that `count` queries make tiles of equal size with at most `most` each.
int64_t block_size(int64_t count, int64_t most) {
  int64_t blocks = (count + most - 1) / most;
  return (count + blocks - 1) / blocks;
}

}  // namespace

int64_t Attention::head_chunks() const {
  // Beside the sums a tile of codes holds the values, a weight and a product: 5 x 2, 2, 1 and 1 of 16.
  const int64_t most = is_coded(cache) && low.target.vector_registers < 32 ? 2 : 4;
  int64_t chunks = std::min(most, head_dim() / head_lanes);
  while (head_dim() / head_lanes % chunks != 0) --chunks;
  return chunks;
}

int64_t Attention::score_block(int64_t count) const {
  return block_size(count, std::max<int64_t>(1, accumulators() / (chains() * page_vectors())));
}

int64_t Attention::weigh_block(int64_t count) const {
  return block_size(count, std::max<int64_t>(1, accumulators() / head_chunks()));
}

void Attention::allocate() {
  // Register tiles may reach past the last query: what they compute there is never used.
  int64_t count = rows * sharing;
  int64_t most = count + std::max<int64_t>({score_block(count), weigh_block(count), int64_t{low.lanes()}});
  if (!codes_queries()) queries = k().shared("queries", DType::kF32, most * head_dim());
  limits = k().shared("limits", DType::kI32, most);
  scores = k().shared("scores", DType::kF32, most * span_tokens());
  weighted = k().shared("weighted", DType::kF32, most * head_dim());
  before = k().shared("before", DType::kF32, most);
  now = k().shared("now", DType::kF32, most);
  corrections = k().shared("corrections", DType::kF32, most);
  sums = k().shared("sums", DType::kF32, most * token_lanes);
  if (is_coded(cache)) allocate_codes(most);
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

void Attention::begin(const Run& run) {
  // exponentials() takes whole vectors: lanes past the last query must not hold subnormal numbers, whose arithmetic takes a
  // hundred times as long.
  for (const BufferRef& of : {before, now, tops})
    if (of)
      for (int64_t at = 0; at < softened_lanes(run); at += low.lanes())
        k().store(of, int_const(at), float_const(kLowest, {DType::kF32, low.lanes()}));
  for_each_query(run, [&](ExprRef r, ExprRef g, ExprRef query) {
    ExprRef row = run.first_row + r;
    ExprRef from = k().let("q_at", q.at(row, q_column(run.kv_head, g)));
    k().store(limits, query, k().load(positions, row));
    k().store(sums, query * double(token_lanes), float_const(0, {DType::kF32, token_lanes}));
    k().vector_loop("d", int_const(head_dim()), head_lanes, [&](ExprRef d, int n) {
      ExprRef at = query * double(head_dim()) + d;
      if (!codes_queries()) k().store(queries, at, low.load_f32(q.buffer, from + d, n) * low.node.get_double("scale"));
      k().store(weighted, at, float_const(0, {DType::kF32, n}));
    });
    if (codes_queries()) begin_codes(from, query);
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

// in_span: the page's place among those of the span.
void Attention::score_page(const Run& run, const ExprRef& page, const ExprRef& in_span) {
  ExprRef base = base_of(run, page);
  std::vector<ExprRef> indices = token_indices(page);
  if (rotates_keys()) rotate_keys(run, base, indices);
  std::vector<ExprRef> key_scales;
  if (is_coded(cache)) key_scales = enter_scales(run, base, in_span, indices);
  const int64_t block = score_block(run.max_rows * sharing);
  ExprRef ahead;
  if (codes_queries()) ahead = half_ahead(run, page - in_span, in_span);
  ExprRef count = (run.rows * double(sharing) + double(block - 1)) / double(block);
  k().loop("block", int_const(0), count, LoopKind::kSerial, [&](ExprRef b) {
    ExprRef first = k().let("first_query", b * double(block));
    ExprRef to = k().let("to", score_at(first) + in_span * double(cache.page_size));
    auto put = [&](int64_t g, int64_t v, ExprRef score) {
      ExprRef limit = broadcast(k().load(limits, first + double(g)), token_lanes);
      ExprRef seen = binary(BinaryOp::kLe, indices[static_cast<size_t>(v)], limit);
      if (is_coded(cache)) {
        ExprRef scale = key_scales[static_cast<size_t>(v)];
        score = score * (codes_queries() ? scale * k().load(query_scales, first + double(g)) : scale);
      }
      k().store(scores, to + double(g * span_tokens() + v * token_lanes),
                select(seen, score, float_const(-std::numeric_limits<double>::infinity(), score->type)));
    };
    if (codes_queries()) score_codes(run, base, ahead, first, block, put);
    else score_queries(run, page, base, first, block, put);
  });
}

int64_t Attention::together() const {
  int64_t count = 4;
  while (sharing % count != 0) --count;
  return count;
}

void Attention::for_some_queries(const Run& run, const std::function<void(ExprRef)>& body) {
  k().loop("some", int_const(0), run.rows * double(sharing / together()), LoopKind::kSerial,
           [&](ExprRef i) { body(k().let("query", i * double(together()))); });
}

// Of the first `vectors` vectors of each of together() queries' scores, or kLowest.
std::vector<ExprRef> Attention::largest_scores(const ExprRef& query, const ExprRef& vectors) {
  const Type vector{DType::kF32, token_lanes};
  ExprRef first = k().let("scores_at", score_at(query));
  BufferRef largest = k().registers("largest", vector, together());
  for (int64_t g = 0; g < together(); ++g) k().store(largest, int_const(g), float_const(kLowest, vector));
  k().loop("v", int_const(0), vectors, LoopKind::kSerial, [&](ExprRef v) {
    for (int64_t g = 0; g < together(); ++g) {
      ExprRef score = k().load(scores, first + v * double(token_lanes) + double(g * span_tokens()), token_lanes);
      k().store(largest, int_const(g), binary(BinaryOp::kMax, k().load(largest, int_const(g)), score));
    }
  });
  std::vector<ExprRef> out;
  for (int64_t g = 0; g < together(); ++g) {
    ExprRef all = k().load(largest, int_const(g));
    out.push_back(k().let("top", token_lanes == 1 ? all : reduce(BinaryOp::kMax, all)));
  }
  return out;
}

// to = exp(of - now) for every query of the run.
void Attention::exponentials(const Run& run, const BufferRef& to, const BufferRef& of) {
  const int64_t lanes = low.lanes();
  k().loop("some", 0, softened_lanes(run) / lanes, LoopKind::kSerial, [&](ExprRef i) {
    ExprRef at = k().let("at", i * double(lanes));
    ExprRef change = k().load(of, at, int(lanes)) - k().load(now, at, int(lanes));
    k().store(to, at, softmax_weight(low, k().let("change", change)));
  });
}

void Attention::for_each_tile(const Run& run, int64_t block,
                              const std::function<void(ExprRef, ExprRef, const Place&)>& body) {
  const int64_t width = head_chunks() * head_lanes;
  ExprRef count = (run.rows * double(sharing) + double(block - 1)) / double(block);
  k().loop("block", int_const(0), count, LoopKind::kSerial, [&](ExprRef b) {
    ExprRef first = k().let("first_query", b * double(block));
    k().loop("part", 0, head_dim() / width, LoopKind::kSerial, [&](ExprRef part) {
      ExprRef column = k().let("column", part * double(width));
      body(first, column, [&](int64_t g, int64_t c) {
        return (first + double(g)) * double(head_dim()) + column + double(c * head_lanes);
      });
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
  ExprRef spans = k().let("spans", (run.pages + double(span_pages - 1)) / double(span_pages)), first_span = int_const(0);
  if (run.part) {
    const double most = double(low.node.get_int("part_pages") / span_pages);
    first_span = k().let("first_span", run.part * most);
    spans = k().let("part_spans", binary(BinaryOp::kMin, int_const(int64_t(most)), spans - first_span));
  }
  k().loop("span", first_span, spans, LoopKind::kSerial, [&](ExprRef s) {
    ExprRef first = k().let("span_page", s * double(span_pages));
    ExprRef pages = k().let("span_pages", binary(BinaryOp::kMin, int_const(span_pages), run.pages - first));
    k().loop("p", int_const(0), pages, LoopKind::kSerial,
             [&](ExprRef p) { score_page(run, k().let("page", first + p), p); });
    if (is_coded(cache)) {
      soften_codes(run, pages);
      weigh_codes(run, first, pages);
    } else {
      soften(run, pages);
      weigh(run, first, pages);
    }
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

Function lower_attention(CpuLowering& low) {
  const graph::KvCache& cache = low.cache();
  const bool parts = low.node.op == "attention_part";
  Matrix q = low.matrix(0, "q");
  BufferRef sequences = low.vector(1, "sequences"), positions = low.vector(2, "positions");
  BufferRef indptr = low.vector(3, "page_indptr"), page_ids = low.vector(4, "page_ids");
  Attention::Window window;
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
  a.rows = many ? std::clamp<int64_t>(Attention::kTileQueries / a.sharing, 1, 16) : 1;
  if (!many && low.node.get_int_or("part_pages", Attention::kRowSpanPages) % Attention::kRowSpanPages == 0)
    a.span_pages = Attention::kRowSpanPages;
  a.head_lanes = low.lanes_dividing(cache.head_dim);
  a.token_lanes = low.lanes_dividing(cache.page_size);
  internal_check(!parts || low.node.get_int("part_pages") % a.span_pages == 0, "attention_part: parts are whole spans");
  Dim blocks = parts ? a.out.rows : ceildiv(q.rows, a.rows);
  low.k.grid("tile", blocks * cache.kv_heads, [&](ExprRef t) {
    ExprRef block = t / double(cache.kv_heads), kv_head = t % cache.kv_heads;
    if (parts) {  // a part asks for the keys of the next one: that is the next tile
      ExprRef count = low.k.let("parts", dim_expr(blocks));
      kv_head = t / count;
      block = binary(BinaryOp::kMod, t, count);
    }
    block = low.k.let("block", block);
    kv_head = low.k.let("kv_head", kv_head);
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
