// Moves maps into the region of what feeds them: a matmul, a norm or another map.
//
//   before:  %1 = matmul(%0, @w)   %2 = map(%1) region(x + @b)   %3 = map(%residual) region(x + %2)
//   after:   %3 = matmul(%0, @w) region(x + @b + %residual)
//
// Needs: the intermediate value has this one use, and the map's other operands exist before its producer. Of
// `mul(silu(%gate), %up)` with two matmuls, silu joins the first and mul the second.
#pragma once

#include "graph/ir.h"

namespace mlc::graph {

void fuse_epilogues(Module& module);

}  // namespace mlc::graph
