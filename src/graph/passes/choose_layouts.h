// Chooses the physical layout of every parameter. A group-quantized weight that some matmul reads becomes
// "tile8" on a CPU, or "tile16" where vectors hold 16 floats (with its zero padding of the last tile; `take`
// reads the same tiles); on a GPU all of them become "lanes32". Everything else stays "packed".
//
//   before:  param @w : q4g32.f16@packed[576, 1536]      %1 = matmul(%0, @w)
//   after:   param @w : q4g32.f16@tile8[576, 1536]       %1 = matmul(%0, @w)
//
// A parameter is one value shared by all functions, so that it has one layout in the whole library.
#pragma once

#include "base/target/target.h"
#include "graph/ir.h"

namespace mlc::graph {

void choose_layouts(Module& module, const Target& target);

}  // namespace mlc::graph
