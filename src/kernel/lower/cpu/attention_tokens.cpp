// attention: which tokens of a sequence a run of rows sees, where they lie, and what is not read.
#include <limits>

#include "kernel/lower/cpu/attention.h"
#include "kernel/lower/tree_mask.h"

namespace mlc::kernel {

// The run with the places of its pages.
AttentionRun Attention::locate(AttentionRun run) const {
  const int64_t size = cache.page_size;
  ExprRef sequence = k().let("sequence", index(call.sequences, run.first_row));
  run.length = run.limit;
  auto stored = [&](const ExprRef& token) {
    return rolling() ? token + select(less(token, run.skip_begin), int_const(0), run.skip_count) : token;
  };
  if (rolling()) {
    run.skip_begin = k().let("skip_begin", index(call.skip_begin, sequence));
    run.skip_count = k().let("skip_count", index(call.skip_count, sequence));
    run.length = k().let("length", stored(k().let("last", run.limit - 1)) + 1);
  }
  run.first_page = k().let("first_page", index(call.indptr, sequence));
  run.pages = k().let("pages", (run.length + (size - 1)) / size);
  if (tiling.window > 0) {
    const int64_t most = tiling.window + (call.mask ? kMostHidden : 0);
    ExprRef first = k().let("first_seen", binary(BinaryOp::kMax, run.least - most, int_const(0)));
    run.unseen_pages = k().let("unseen_pages", stored(first) / size);
  }
  return run;
}

// What a row's mask says of a query of it.
void Attention::enter_mask(const ExprRef& row, const ExprRef& query) const {
  ExprRef mask = k().let("mask", k().load(call.mask, row));
  k().store(memory.masks, query, mask);
  if (memory.hidden) k().store(memory.hidden, query, count_hidden(k(), mask));
}

// Whether tokens, i32 vectors of their indices, are seen by a query whose row has that limit, i32.
ExprRef Attention::seen(const ExprRef& indices, const ExprRef& query, const ExprRef& limit) const {
  auto wide = [&](const ExprRef& x) { return broadcast(x, tiling.token_lanes); };
  ExprRef seen = less(indices, wide(limit));
  if (tiling.window > 0) {
    ExprRef begin = limit - tiling.window;
    if (memory.hidden) begin = begin - k().load(memory.hidden, query);
    seen = binary(BinaryOp::kAnd, seen, binary(BinaryOp::kLe, wide(begin), indices));
  }
  if (!memory.masks) return seen;
  ExprRef shown = is_shown(wide(k().load(memory.masks, query)), wide(limit - 1) - indices);
  return binary(BinaryOp::kAnd, seen, shown);
}

// The indices of a page's tokens, i32 vectors; of a dropped one more than any limit.
std::vector<ExprRef> Attention::token_indices(const AttentionRun& run, const ExprRef& page) const {
  std::vector<ExprRef> out;
  auto wide = [&](const ExprRef& x) { return broadcast(cast(x, DType::kI32), tiling.token_lanes); };
  for (int64_t v = 0; v < page_vectors(); ++v) {
    ExprRef first = cast(page * cache.page_size + v * tiling.token_lanes, DType::kI32);
    ExprRef slot = k().let("slot", tiling.token_lanes == 1 ? first : ramp(first, 1, tiling.token_lanes));
    if (rolling()) {
      ExprRef early = less(slot, wide(run.skip_begin)),
              gone = less(slot, wide(run.skip_begin + run.skip_count));
      ExprRef late = select(gone, int_const(std::numeric_limits<int32_t>::max(), slot->type),
                            slot - wide(run.skip_count));
      slot = k().let("token", select(early, slot, late));
    }
    out.push_back(slot);
  }
  return out;
}

// The span's pages. Those that no row sees get scores without weight and are not read.
AttentionSpan Attention::enter_span(const AttentionRun& run, const ExprRef& span) const {
  AttentionSpan s;
  s.first_page = k().let("span_page", span * tiling.span_pages);
  s.pages =
      k().let("span_pages", binary(BinaryOp::kMin, int_const(tiling.span_pages), run.pages - s.first_page));
  if (!run.unseen_pages) return s;
  s.unseen = k().let("unseen", binary(BinaryOp::kMax, run.unseen_pages - s.first_page, int_const(0)));
  const Type vector{DType::kF32, tiling.token_lanes};
  k().loop("v", int_const(0), s.unseen * page_vectors(), LoopKind::kSerial, [&](ExprRef v) {
    k().loop("query", int_const(0), run.rows * tiling.sharing, LoopKind::kSerial, [&](ExprRef query) {
      k().store(memory.scores, score_at(query) + v * tiling.token_lanes,
                float_const(-std::numeric_limits<double>::infinity(), vector));
    });
  });
  return s;
}

void Attention::for_each_page(const AttentionSpan& span, const std::function<void(ExprRef)>& body) const {
  if (!span.unseen) return k().loop("p", int_const(0), span.pages, LoopKind::kSerial, body);
  k().loop("p", span.unseen, span.pages - span.unseen, LoopKind::kSerial, body);
}

// Those of the page's slots up to the run's limit.
LiveTokens Attention::live_tokens(const AttentionRun& run, const ExprRef& page) const {
  ExprRef count = binary(BinaryOp::kMin, int_const(cache.page_size), run.length - page * cache.page_size);
  if (!rolling()) return {count, nullptr, nullptr};
  count = k().let("count", count);
  ExprRef first = k().let("first", page * cache.page_size);
  auto inside = [&](const ExprRef& x) {
    return binary(BinaryOp::kMin, binary(BinaryOp::kMax, x, int_const(0)), count);
  };
  LiveTokens live;
  live.gap_begin = k().let("page_begin", inside(run.skip_begin - first));
  ExprRef end = inside(run.skip_begin + run.skip_count - first);
  live.gap = k().let("page_gap", end - live.gap_begin);
  live.count = k().let("live", count - live.gap);
  return live;
}

}  // namespace mlc::kernel
