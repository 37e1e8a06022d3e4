// The mask of a row whose step's rows are a tree (graph/ops/attention.cpp), for CPUs and GPUs.
#pragma once

#include "formats/plan.h"
#include "kernel/builder.h"

namespace mlc::kernel {

inline constexpr int64_t kMostHidden = kMostTreeTokens - 1;

// Whether a mask shows the token `distance` before the row's last one, i32 or vectors of it; of one farther
// than any mask reaches it is asked by bit 31, which is never set.
inline ExprRef is_shown(const ExprRef& mask, const ExprRef& distance) {
  auto constant = [&](int64_t value) { return int_const(value, distance->type); };
  ExprRef bit = binary(BinaryOp::kMin, binary(BinaryOp::kMax, distance, constant(0)), constant(31));
  ExprRef hidden = binary(BinaryOp::kAnd, binary(BinaryOp::kShr, mask, bit), constant(1));
  return binary(BinaryOp::kEq, hidden, constant(0));
}

// How many tokens a mask, i32, hides: its bits added in pairs, then in fours, eights, ...
inline ExprRef count_hidden(KernelBuilder& k, ExprRef bits) {
  auto and_with = [&](const ExprRef& x, int64_t mask) {
    return binary(BinaryOp::kAnd, x, int_const(mask, x->type));
  };
  constexpr int64_t kMasks[] = {0x55555555, 0x33333333, 0x0f0f0f0f, 0x00ff00ff, 0x0000ffff};
  for (int i = 0; i < 5; ++i) {
    ExprRef above = binary(BinaryOp::kShr, bits, int_const(1 << i, bits->type));
    bits = k.let("bits", and_with(bits, kMasks[i]) + and_with(above, kMasks[i]));
  }
  return bits;
}

}  // namespace mlc::kernel
