// Places a function's intermediate values in one arena: offsets are expressions over its dimensions.
//
//   before:  %0: f32[rows, 16] = rms_norm(...)   %1: f32[rows, 64] = matmul(%0, ...)   %2 = activation(%1)
//   after:   %0 at (rows * 256)   %1 at 0   %2 at 0 (in place)   total (rows * 320)
//
// Values are grouped by the symbols of their size (rows, batch, constant); each group is packed by size over
// lifetimes and the groups follow each other. Sizes are multiples of 64 bytes, so that offsets are aligned.
// Arguments and results lie in the caller's buffers; a slice that is no result is a view of its operand.
#pragma once

#include <unordered_map>

#include "graph/ir.h"

namespace mlc::graph {

struct MemoryPlan {
  struct View {
    const Value* base;  // no view itself
    int64_t column;
  };
  std::unordered_map<const Value*, Dim> offsets;  // bytes from the start of the arena
  std::unordered_map<const Value*, View> views;
  Dim total = 0;
  std::string text(const Function& function) const;  // one value a line
};
MemoryPlan plan_memory(const Function& function);

}  // namespace mlc::graph
