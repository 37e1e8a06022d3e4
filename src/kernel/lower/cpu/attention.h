// attention's lowering, shared by its files: attention.cpp (tiles, runs, spans), attention_tokens.cpp (what a
// run sees), attention_float.cpp (f32 products over a cache of floats), attention_latent.cpp (scores over one
// of latents) and attention_coded.cpp (integer products over a cache of codes).
#pragma once

#include <functional>
#include <vector>

#include "kernel/lower/cpu/cache.h"
#include "kernel/lower/cpu/softmax.h"
#include "kernel/lower/rope.h"

namespace mlc::kernel {

// The call's buffers. mask is null where rows see all up to their limits, skip_begin and skip_count without a
// rolling window; key_factors has no buffer where keys are stored rotated.
struct AttentionBuffers {
  Operand q;
  BufferRef sequences, limits, indptr, page_ids, mask, skip_begin, skip_count;
  Operand key_factors;
  Rotation rotation;  // of keys
  Operand sinks;      // no buffer without them
  BufferRef kv;
  Operand out;
};

// How the work is cut.
struct AttentionTiling {
  int64_t sharing = 1;     // query heads per key/value head
  int64_t rows = 1;        // of a tile, at most
  int64_t span_pages = 1;  // pages between two softmaxes
  int64_t window = 0;      // tokens that a row sees at most; 0 = all up to its limit
  int token_lanes = 1, key_lanes = 1, value_lanes = 1;
};

// Shared memory, per query of the tile: q * scale [key_dim], the limit, scores of a span, sum of weighted
// values [value_dim], largest score before and after the span, exp(before - after), sum of weights
// [token_lanes].
struct AttentionMemory {
  BufferRef queries, limits, scores, weighted, previous_max, running_max, corrections, sums;
  // The same over a cache of codes: i16 codes of q [key_dim] with their scale, i16 codes of a span's weights
  // with their scale, largest score of the span, exp(that - after); scales of the span's values.
  BufferRef query_codes, query_scales, weight_codes, gains, span_max, shares, value_scales;
  BufferRef rotated_keys;  // [key_dim][page_size]
  BufferRef slopes;        // of scores' biases, or null
  BufferRef masks;         // i32, or null; likewise how many tokens each hides, where a window counts
  BufferRef hidden;
};

// Rows of one sequence, in a tile.
struct AttentionRun {
  ExprRef first_row, rows, kv_head;
  ExprRef limit;            // the largest
  ExprRef least = nullptr;  // the smallest limit, where a window needs it
  int64_t max_rows = 1;
  ExprRef part;  // attention_part's, else null
  // Set by locate(): index into page_ids; pages and storage slots up to `limit`; with a window the pages that
  // no row sees; with a rolling window the storage indices that hold dropped tokens, skip_begin .. skip_begin
  // + skip_count.
  ExprRef first_page = nullptr, pages = nullptr, length = nullptr, unseen_pages = nullptr,
          skip_begin = nullptr, skip_count = nullptr;
};

// Pages between two softmaxes. The first `unseen` of them are not read; null: none.
struct AttentionSpan {
  ExprRef first_page, pages, unseen;
};

// The tokens of a page that are read: the first `count` of its slots without those from gap_begin on, gap of
// them.
struct LiveTokens {
  ExprRef count, gap_begin, gap;  // the last two null without a rolling window
};

struct Attention {
  // Below every score and finite, so that the difference of two maxima is never NaN.
  static constexpr double kLowest = -3e38;
  static constexpr int64_t kTileQueries =
      24;  // two register tiles of 12 on 32 registers; 24 heads of 64 take 6 KB of L1
  static constexpr int64_t kAhead = 2;  // pages of floats: some 300 ns, more than memory takes to answer
  // Pages of a span: 64 tokens for many queries, whose scores stay in L1; 128 for one row, which waits for
  // every softmax.
  static constexpr int64_t kSpanPages = 4, kRowSpanPages = 8;

  CpuLowering& low;
  const graph::PagedState& cache;
  const AttentionBuffers& call;
  const AttentionTiling tiling;
  const AttentionMemory memory;

  Attention(CpuLowering& l, const AttentionBuffers& b, const AttentionTiling& t)
      : low(l), cache(l.cache()), call(b), tiling(t), memory(allocate()) {}

  KernelBuilder& k() const { return low.k; }
  int64_t key_dim() const { return cache.key_dim; }
  int64_t value_dim() const { return cache.value_dim; }
  int64_t page_vectors() const { return cache.page_size / tiling.token_lanes; }
  int64_t span_tokens() const { return tiling.span_pages * cache.page_size; }
  // Of a register tile. Codes need one register more than floats: a product before it is added.
  int64_t accumulators() const { return low.target.vector_registers >= 32 ? 24 : is_coded(cache) ? 10 : 12; }
  // A chain of dependent multiply-adds is shorter where a page is one vector.
  int64_t chains() const { return page_vectors() == 1 && key_dim() % 4 == 0 ? 2 : 1; }
  int64_t value_chunks() const;
  int64_t score_block(int64_t count) const;
  int64_t value_block(int64_t count) const;
  ExprRef q_column(const ExprRef& kv_head, const ExprRef& g) const {
    return (kv_head * tiling.sharing + g) * key_dim();
  }
  int64_t together() const;  // queries whose softmax runs at once: none waits for its own results then
  // Queries of a run, rounded up to whole vectors.
  int64_t softmax_lanes(const AttentionRun& run) const {
    return (run.max_rows * tiling.sharing + low.lanes() - 1) / low.lanes() * low.lanes();
  }
  ExprRef score_at(const ExprRef& query) const { return query * span_tokens(); }
  bool rolling() const { return call.skip_begin != nullptr; }
  bool rotates_keys() const { return call.key_factors.buffer != nullptr; }
  bool codes_queries() const { return is_coded(cache) && !rotates_keys(); }
  ExprRef index(const BufferRef& b, ExprRef at) const {
    return cast(k().load(b, std::move(at)), DType::kI64);
  }
  ExprRef base_of(const AttentionRun& run, const ExprRef& page) const {
    return k().let("base", low.pages().page(index(call.page_ids, run.first_page + page)));
  }

  // attention.cpp
  AttentionMemory allocate() const;
  void initialize(const AttentionRun& run) const;
  void prefetch(const ExprRef& page_ahead, const ExprRef& at, int64_t elements) const;
  ExprRef page_ahead(const AttentionRun& run, const ExprRef& page) const;
  void score_page(const AttentionRun& run, const ExprRef& page, const ExprRef& in_span) const;
  std::vector<ExprRef> largest_scores(const ExprRef& query, const ExprRef& vectors) const;
  void exponentials(const AttentionRun& run, const BufferRef& to, const BufferRef& of) const;
  void store_results(const AttentionRun& run) const;
  void attend(const AttentionRun& rows) const;
  void attend_block(const ExprRef& first, const ExprRef& kv_head) const;

  // attention_tokens.cpp
  void enter_mask(const ExprRef& row, const ExprRef& query) const;
  AttentionRun locate(AttentionRun run) const;
  ExprRef seen(const ExprRef& indices, const ExprRef& query, const ExprRef& limit) const;
  std::vector<ExprRef> token_indices(const AttentionRun& run, const ExprRef& page) const;
  AttentionSpan enter_span(const AttentionRun& run, const ExprRef& span) const;
  // body(page of the span): those that are read.
  void for_each_page(const AttentionSpan& span, const std::function<void(ExprRef)>& body) const;
  LiveTokens live_tokens(const AttentionRun& run, const ExprRef& page) const;

  // Takes query of the block, vector of the page, scores.
  using PutScores = std::function<void(int64_t, int64_t, ExprRef)>;

  // attention_float.cpp
  void rotate_keys(const AttentionRun& run, const ExprRef& base, const std::vector<ExprRef>& indices) const;
  void score_queries(const AttentionRun& run, const ExprRef& page, const ExprRef& base,
                     const ExprRef& first_query, int64_t block, const PutScores& put) const;
  void online_softmax(const AttentionRun& run, const ExprRef& pages) const;
  void accumulate_values(const AttentionRun& run, const AttentionSpan& span) const;
  void accumulate_page(const AttentionRun& run, const ExprRef& page, const ExprRef& in_span,
                       const BufferRef& acc, const ExprRef& first_query, int64_t block,
                       const ExprRef& first_column) const;

  // attention_latent.cpp
  void score_latents(const AttentionRun& run, const ExprRef& page, const ExprRef& base,
                     const ExprRef& first_query, int64_t block, const ExprRef& to,
                     const PutScores& put) const;

  // attention_coded.cpp
  void allocate_codes(int64_t queries_at_most, AttentionMemory& m) const;
  void code_query(const ExprRef& from, const ExprRef& query) const;
  std::vector<ExprRef> enter_scales(const AttentionRun& run, const ExprRef& base, const ExprRef& in_span,
                                    const std::vector<ExprRef>& indices) const;
  ExprRef half_page_ahead(const AttentionRun& run, const ExprRef& span_page, const ExprRef& n) const;
  void prefetch_half_page(const ExprRef& ahead, const ExprRef& step, int64_t steps) const;
  void score_codes(const AttentionRun& run, const ExprRef& base, const ExprRef& ahead,
                   const ExprRef& first_query, int64_t block, const PutScores& put) const;
  void online_softmax_of_codes(const AttentionRun& run, const ExprRef& pages) const;
  void code_weights(const ExprRef& first_query, const ExprRef& vectors) const;
  void finish_weights(const ExprRef& query, const ExprRef& vectors, const ExprRef& total,
                      const ExprRef& largest) const;
  void accumulate_coded_values(const AttentionRun& run, const AttentionSpan& span) const;
  void accumulate_coded_page(const AttentionRun& run, const ExprRef& page, const ExprRef& in_span,
                             const ExprRef& ahead, const BufferRef& acc, const ExprRef& first_query,
                             int64_t block, const ExprRef& first_column) const;

  template <typename Body>
  void for_each_query(const AttentionRun& run,
                      const Body& body) const {  // body(row of the run, head of the kv head, query)
    k().loop("row", int_const(0), run.rows, LoopKind::kSerial, [&](ExprRef r) {
      k().loop("g", 0, tiling.sharing, LoopKind::kSerial,
               [&](ExprRef g) { body(r, g, k().let("query", r * tiling.sharing + g)); });
    });
  }
  // body(first): the run's queries, together() at once.
  void for_some_queries(const AttentionRun& run, const std::function<void(ExprRef)>& body) const;
  // body(first query, columns' first, place of query g and chunk c in `weighted`): register tiles of `block`
  // queries.
  using Place = std::function<ExprRef(int64_t, int64_t)>;
  void for_each_tile(const AttentionRun& run, int64_t block,
                     const std::function<void(ExprRef, ExprRef, const Place&)>& body) const;
};

}  // namespace mlc::kernel
