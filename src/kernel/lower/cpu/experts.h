// Grids of matmuls over the matrices that their rows meet.
#pragma once

#include "kernel/lower/cpu/context.h"
#include "kernel/lower/experts.h"

namespace mlc::kernel {

// Whether the rows of a weight in tiles must be read one by one: a gated weight's second half, or an expert's
// matrix, does not begin at a multiple of `lanes`.
inline bool scatters(const graph::TensorType& weight, const ExpertRows& experts, int halves, int lanes) {
  return (halves == 2 && matrix_rows(weight) / 2 % lanes != 0) ||
         (experts.any() && matrix_rows(weight) % lanes != 0);
}

// body(tile, run) for each of `tiles` tiles of each row's, or each run's, own matrix; not for runs without
// rows.
void for_matrix_tiles(CpuLowering& low, const ExpertRows& experts, int64_t tiles,
                      const std::function<void(ExprRef, RowRun)>& body);

// body(rest) for each `rows` rows of a run: what is left of it from them on.
void for_row_blocks(KernelBuilder& k, const RowRun& run, int rows, const std::function<void(RowRun)>& body);

}  // namespace mlc::kernel
