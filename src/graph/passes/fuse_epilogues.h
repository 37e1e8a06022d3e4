// Moves what follows a matmul into its epilogue: bias, activation, mul, add (either operand order) and gated.
//
//   before:  %1 = matmul(%0, @w)   %2 = bias(%1, @b)   %3 = add(%residual, %2)
//   after:   %3 = matmul(%0, @w) epilogue(bias(@b), add(%residual))
//
// Needs: the intermediate value has this one use, and the other operand exists before the matmul. Of
// `mul(silu(%gate), %up)` with two matmuls, silu joins the first and mul the second.
#pragma once

#include "graph/ir.h"

namespace mlc::graph {

void fuse_epilogues(Module& module);

}  // namespace mlc::graph
