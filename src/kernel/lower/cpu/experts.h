// Grids of matmuls over the matrices that their rows meet.
#pragma once

#include "kernel/lower/cpu/context.h"
#include "kernel/lower/experts.h"

namespace mlc::kernel {

// body(tile, run) for each of `tiles` tiles of each row's, or each run's, own matrix; not for runs without
// rows.
void for_matrix_tiles(CpuLowering& low, const ExpertRows& experts, int64_t tiles,
                      const std::function<void(ExprRef, RowRun)>& body);

// body(rest) for each `rows` rows of a run: what is left of it from them on.
void for_row_blocks(KernelBuilder& k, const RowRun& run, int rows, const std::function<void(RowRun)>& body);

}  // namespace mlc::kernel
