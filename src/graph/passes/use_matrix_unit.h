// In the bodies for many rows of a target whose matrix unit multiplies bf16, activations that are quantized
// for matmuls become tiles of bf16 instead, where weights have groups as wide as a tile. Needs
// specialize_rows before it: one row is bound by reading weights, few rows leave tiles empty.
//
//   before:  %0 = rms_norm(%x, @n) {output = "q8g32"}   %3 = quantize_q8(%2)   %4 = matmul(%3, @d)
//   after:   %0 = rms_norm(%x, @n) {output = "tiles"}   %3 = to_tiles(%2)      %4 = matmul(%3, @d)
#pragma once

#include "base/target/target.h"
#include "graph/ir.h"

namespace mlc::graph {

void use_matrix_unit(Module& module, const Target& target);

}  // namespace mlc::graph
