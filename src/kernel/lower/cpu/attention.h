// attention's lowering, shared by its files: attention.cpp (tiles, runs, spans), attention_float.cpp (f32 products over a cache
// of floats) and attention_coded.cpp (integer products over a cache of codes).
#pragma once

#include <functional>
#include <vector>

#include "kernel/lower/cpu/cache.h"
#include "kernel/lower/cpu/softmax.h"

namespace mlc::kernel {

struct Attention {
  // Below every score and finite, so that the difference of two maxima is never NaN.
  static constexpr double kLowest = -3e38;
  static constexpr int64_t kTileQueries = 24;  // two register tiles of 12 on 32 registers; 24 heads of 64 take 6 KB of L1
  static constexpr int64_t kAhead = 2;         // pages of floats: some 300 ns, more than memory takes to answer
  // Pages of a span: 64 tokens for many queries, whose scores stay in L1; 128 for one row, which waits for every softmax.
  static constexpr int64_t kSpanPages = 4, kRowSpanPages = 8;

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

  CpuLowering& low;
  const graph::KvCache& cache;
  Matrix q;
  BufferRef sequences, positions, indptr, page_ids, kv;
  Matrix out;
  Window window;
  int64_t sharing = 1;  // query heads per key/value head
  int64_t rows = 1;     // of a tile, at most
  int64_t span_pages = kSpanPages;
  int token_lanes = 1, head_lanes = 1;
  // Shared, per query of the tile: q * scale [head_dim], position, scores of a span, sum of weighted values [head_dim],
  // largest score before and after the span, exp(before - after), sum of weights [token_lanes].
  BufferRef queries, limits, scores, weighted, before, now, corrections, sums;
  // The same over a cache of codes: i16 codes of q [head_dim] with their scale, i16 codes of a span's weights with their scale,
  // largest score of the span, exp(that - after); scales of the span's values.
  BufferRef query_codes, query_scales, weight_codes, gains, tops, shares, value_scales;

  KernelBuilder& k() { return low.k; }
  int64_t head_dim() const { return cache.head_dim; }
  int64_t page_vectors() const { return cache.page_size / token_lanes; }
  int64_t span_tokens() const { return span_pages * cache.page_size; }
  // Of a register tile. Codes need one register more than floats: a product before it is added.
  int64_t accumulators() const { return low.target.vector_registers >= 32 ? 24 : is_coded(cache) ? 10 : 12; }
  // A chain of dependent multiply-adds is shorter where a page is one vector.
  int64_t chains() const { return page_vectors() == 1 && head_dim() % 4 == 0 ? 2 : 1; }
  int64_t head_chunks() const;
  int64_t score_block(int64_t count) const;
  int64_t weigh_block(int64_t count) const;
  ExprRef q_column(const ExprRef& kv_head, const ExprRef& g) {
    return (kv_head * double(sharing) + g) * double(head_dim());
  }
  int64_t together() const;  // queries whose softmax runs at once: none waits for its own results then
  // Queries of a run, rounded up to whole vectors.
  int64_t softened_lanes(const Run& run) const {
    return (run.max_rows * sharing + low.lanes() - 1) / low.lanes() * low.lanes();
  }
  ExprRef score_at(const ExprRef& query) { return query * double(span_tokens()); }
  bool windowed() const { return window.skip_begin != nullptr; }
  bool rotates_keys() const { return window.factors.buffer != nullptr; }
  bool codes_queries() const { return is_coded(cache) && !rotates_keys(); }
  ExprRef index(const BufferRef& b, ExprRef at) { return cast(k().load(b, std::move(at)), DType::kI64); }
  ExprRef base_of(const Run& run, const ExprRef& page) {
    return k().let("base", page_base(low, index(page_ids, run.first_page + page)));
  }

  // attention.cpp
  void allocate();
  void locate(Run& run);
  std::vector<ExprRef> token_indices(const ExprRef& page);
  void begin(const Run& run);
  void prefetch(const ExprRef& page_ahead, const ExprRef& at, int64_t elements);
  ExprRef ahead_of(const Run& run, const ExprRef& page);
  void score_page(const Run& run, const ExprRef& page, const ExprRef& in_span);
  std::vector<ExprRef> largest_scores(const ExprRef& query, const ExprRef& vectors);
  void exponentials(const Run& run, const BufferRef& to, const BufferRef& of);
  void finish(const Run& run);
  void attend(Run run);
  void block(const ExprRef& first, const ExprRef& kv_head);

  // Calls put(query of the block, vector of the page, scores).
  using PutScores = std::function<void(int64_t, int64_t, ExprRef)>;

  // attention_float.cpp
  ExprRef enter_page(const ExprRef& page, const ExprRef& count);
  void rotate_keys(const Run& run, const ExprRef& base, const std::vector<ExprRef>& indices);
  void score_queries(const Run& run, const ExprRef& page, const ExprRef& base, const ExprRef& first_query, int64_t block,
                     const PutScores& put);
  void soften(const Run& run, const ExprRef& pages);
  void weigh(const Run& run, const ExprRef& first_page, const ExprRef& pages);
  void weigh_page(const Run& run, const ExprRef& page, const ExprRef& in_span, const BufferRef& acc,
                  const ExprRef& first_query, int64_t block, const ExprRef& first_column);

  // attention_coded.cpp
  void allocate_codes(int64_t queries_at_most);
  void begin_codes(const ExprRef& from, const ExprRef& query);
  std::vector<ExprRef> enter_scales(const Run& run, const ExprRef& base, const ExprRef& in_span,
                                    const std::vector<ExprRef>& indices);
  ExprRef half_ahead(const Run& run, const ExprRef& span_page, const ExprRef& n);
  void ask_ahead(const ExprRef& ahead, const ExprRef& step, int64_t steps);
  void score_codes(const Run& run, const ExprRef& base, const ExprRef& ahead, const ExprRef& first_query, int64_t block,
                   const PutScores& put);
  void soften_codes(const Run& run, const ExprRef& pages);
  void code_weights(const ExprRef& first_query, const ExprRef& vectors);
  void finish_weights(const ExprRef& query, const ExprRef& vectors, const ExprRef& total, const ExprRef& largest);
  void weigh_codes(const Run& run, const ExprRef& first_page, const ExprRef& pages);
  void weigh_coded_page(const Run& run, const ExprRef& page, const ExprRef& in_span, const ExprRef& ahead,
                        const BufferRef& acc, const ExprRef& first_query, int64_t block, const ExprRef& first_column);

  template <typename Body>
  void for_each_query(const Run& run, const Body& body) {  // body(row of the run, head of the kv head, query)
    k().loop("row", int_const(0), run.rows, LoopKind::kSerial, [&](ExprRef r) {
      k().loop("g", 0, sharing, LoopKind::kSerial,
               [&](ExprRef g) { body(r, g, k().let("query", r * double(sharing) + g)); });
    });
  }
  // body(first): the run's queries, together() at once.
  void for_some_queries(const Run& run, const std::function<void(ExprRef)>& body);
  // body(first query, columns' first, place of query g and chunk c in `weighted`): register tiles of `block` queries.
  using Place = std::function<ExprRef(int64_t, int64_t)>;
  void for_each_tile(const Run& run, int64_t block, const std::function<void(ExprRef, ExprRef, const Place&)>& body);
};

}  // namespace mlc::kernel
