// Removes nodes whose results nobody uses and that write no state. Arguments and parameters stay: they are
// the interface.
//
//   before:  %1 = slice(%0) ...   %2 = silu(%1)   kv_append($kv, ...)   return %0
//   after:                                        kv_append($kv, ...)   return %0
#pragma once

#include "graph/ir.h"

namespace mlc::graph {

void eliminate_dead_values(Module& module);

}  // namespace mlc::graph
