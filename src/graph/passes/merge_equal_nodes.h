// Computes equal things once: a node without state that has the op, operands, attributes and region of an
// earlier one is dropped, and its users read the earlier result.
//
//   before:  %1 = quantize_q8(%0)   %2 = matmul(%1, @a)   %3 = quantize_q8(%0)   %4 = matmul(%3, @b)
//   after:   %1 = quantize_q8(%0)   %2 = matmul(%1, @a)                          %4 = matmul(%1, @b)
#pragma once

#include "graph/ir.h"

namespace mlc::graph {

void merge_equal_nodes(Module& module);

}  // namespace mlc::graph
