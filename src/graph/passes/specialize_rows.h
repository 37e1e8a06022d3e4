// Gives each function that multiplies matrices one body per class of row counts, so that each can be
// scheduled for its own: 1 (bound by reading weights), 2..16 (weight-stationary), more (blocked).
//
//   before:  func @decode(%x: f32[rows, 64]) { ... }
//   after:   func @decode(%x: f32[rows, 64]) rows 1..1 { ... }
//            func @decode(%x: f32[rows, 64]) rows 2..16 { ... }
//            func @decode(%x: f32[rows, 64]) { ... }          (the last serves everything else, 0 rows too)
#pragma once

#include <string>

#include "graph/ir.h"

namespace mlc::graph {

void specialize_rows(Module& module);

// The dimension that guards speak of: "rows" where an argument has it, else "batch", else "".
std::string row_symbol(const Function& function);

}  // namespace mlc::graph
