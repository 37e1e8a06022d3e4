// Makes a norm of a single row a part of the matmuls that read it.
//
//   before:  %1 = rms_norm(%0, @n) {eps = 1e-05}   %2 = matmul(%1, @w)
//   after:   %2 = matmul(%0, @w, @n) {eps = 1e-05, norm = "rms_norm"}
//
// Needs: nothing but matmuls of group-quantized weights reads the norm's result, as their x. Of plain weights
// few columns share a kernel's norm of the row. Assumes that specialize_rows ran.
#pragma once

#include "graph/ir.h"

namespace mlc::graph {

// most_bytes: of a row in f32 that a matmul norms by itself; 0: none does.
void fuse_norms(Module& module, int64_t most_bytes);

}  // namespace mlc::graph
