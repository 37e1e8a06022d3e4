// attention on GPUs: which tokens a group walks over, and where they lie.
#include "kernel/lower/gpu/attention.h"
#include "kernel/lower/tree_mask.h"

namespace mlc::kernel {

// The storage place of live token `token`.
GpuAttention::Token GpuAttention::find_token(const Group& g, const Walk& w, const ExprRef& t) const {
  Token token;
  token.index = binary(BinaryOp::kMin, t, w.end - 1);
  if (w.seen) token.index = binary(BinaryOp::kMax, token.index, w.seen);
  token.index = k_.let("token", token.index);
  ExprRef stored = token.index;
  if (w.skip_begin)
    stored =
        k_.let("stored", token.index + select(less(token.index, w.skip_begin), int_const(0), w.skip_count));
  const int64_t page_size = cache_.page_size;
  token.page = k_.let("page", pages_.page(index(in_.page_ids, w.first_page + stored / page_size)));
  token.slot = k_.let("slot", stored % cache_.page_size);
  token.value = k_.let("value", cast(pages_.value(token.page, g.kv_head, token.slot), DType::kI32));
  return token;
}

// The first token that each row sees.
void GpuAttention::place_window(Group& g) const {
  for (size_t r = 0; r < g.row.size(); ++r) {
    ExprRef last = g.limit[r];
    if (!g.mask.empty()) last = k_.let("last", last - cast(count_hidden(k_, g.mask[r]), DType::kI64));
    g.first_seen.push_back(binary(BinaryOp::kMax, last - tiling_.window, int_const(0)));
  }
}

// What the rows of the sequence see of it at all. The walk begins where a walk from 0 would step, so that a
// row's sums do not depend on the others.
void GpuAttention::enter_window(const Group& g, Walk& w) const {
  w.seen = g.first_seen[0];
  if (tiling_.rows > 1) w.seen = w.end;
  for (size_t r = 0; r < g.row.size() && tiling_.rows > 1; ++r) {
    ExprRef inside = binary(BinaryOp::kAnd, binary(BinaryOp::kEq, g.sequence[r], w.sequence),
                            less(int_const(0), g.limit[r]));
    ExprRef first = select(inside, g.first_seen[r], w.end);
    w.seen = k_.let("seen", binary(BinaryOp::kMin, w.seen, first));
  }
  w.seen = k_.let("seen", w.seen);
  w.begin = k_.let("begin", w.seen / threads() * threads());
}

GpuAttention::Walk GpuAttention::enter_sequence(const Group& g, const ExprRef& sequence) const {
  Walk w;
  w.sequence = sequence;
  w.begin = int_const(0);
  w.end = tiling_.rows == 1 ? g.limit[0] : int_const(0);
  for (size_t r = 0; r < g.row.size() && tiling_.rows > 1; ++r) {
    ExprRef limit = select(binary(BinaryOp::kEq, g.sequence[r], w.sequence), g.limit[r], int_const(0));
    w.end = k_.let("end", binary(BinaryOp::kMax, w.end, limit));
  }
  if (tiling_.window > 0) enter_window(g, w);
  w.first_page = k_.let("first_page", index(in_.indptr, w.sequence));
  if (in_.skip_begin.buffer) {
    w.skip_begin = k_.let("window_begin", index(in_.skip_begin, w.sequence));
    w.skip_count = k_.let("window_count", index(in_.skip_count, w.sequence));
  }
  if (in_parts()) find_part(g, w);
  return w;
}

// The live tokens that are stored in the part's pages, maybe none.
void GpuAttention::find_part(const Group& g, Walk& w) const {
  ExprRef length = w.end;
  auto before = [&](const ExprRef& stored) {  // live tokens before a place of storage
    ExprRef live = stored;
    if (w.skip_begin) {
      ExprRef behind = binary(BinaryOp::kMax, w.skip_begin, stored - w.skip_count);
      live = select(binary(BinaryOp::kLe, stored, w.skip_begin), stored, behind);
    }
    live = binary(BinaryOp::kMin, live, length);
    return w.seen ? binary(BinaryOp::kMax, live, w.seen) : live;
  };
  const int64_t tokens = tiling_.part_tokens;
  w.begin = k_.let("begin", before(k_.let("stored", g.part * tokens)));
  w.end = k_.let("end", before(k_.let("stored", (g.part + 1) * tokens)));
}

// The tokens of one sequence, for all its rows.
void GpuAttention::walk(const Group& g, const Memory& m, const ExprRef& sequence) const {
  const Walk w = enter_sequence(g, sequence);
  const int at_once = threads();
  ExprRef steps = k_.let("steps", (w.end - w.begin + (at_once - 1)) / at_once);
  k_.loop("step", int_const(0), steps, LoopKind::kSerial, [&](ExprRef step) { block(g, m, w, step); });
}

// Each sequence among the rows, at its first row.
void GpuAttention::walk_all(const Group& g, const Memory& m) const {
  if (tiling_.rows == 1) return walk(g, m, g.sequence[0]);
  k_.loop("r", 0, tiling_.rows, LoopKind::kSerial, [&](ExprRef r) {
    ExprRef last = dim_expr(in_.q.rows) - 1;
    ExprRef sequence = k_.let("walked", index(in_.sequences, binary(BinaryOp::kMin, g.first_row + r, last)));
    ExprRef seen;
    for (int before = 0; before + 1 < tiling_.rows; ++before) {
      ExprRef same = binary(BinaryOp::kEq, g.sequence[static_cast<size_t>(before)], sequence);
      same = binary(BinaryOp::kAnd, same, less(int_const(before), r));
      seen = seen ? binary(BinaryOp::kOr, seen, same) : same;
    }
    k_.branch(unary(UnaryOp::kNot, k_.let("seen", seen)), [&] { walk(g, m, sequence); });
  });
}

}  // namespace mlc::kernel
