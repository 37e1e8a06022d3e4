// group_experts: in bodies that serve more than one row, the slots of each expert come to lie side by side:
// group_slots sorts them, take brings the rows of x into their order, the expert_matmuls run over runs of
// rows, and expert_sum finds a row's slots again. So the weight of an expert is read once for all its rows.
// The single row of other bodies has no two slots of one expert.
//   %2: f32[(rows * 2), 64] = expert_matmul(%x, @w, %ids)
//   %3: f32[rows, 64] = expert_sum(%2, %weights)
// becomes
//   %4: i32[(rows * 2)], %5: i32[rows, 2], %6: i32[9] = group_slots(%ids) {experts = 8}
//   %7: f32[(rows * 2), 64] = take(%x, %4)
//   %2: f32[(rows * 2), 64] = expert_matmul(%7, @w, %6) {k = 2}
//   %3: f32[rows, 64] = expert_sum(%2, %weights, %5)
#pragma once

#include "graph/ir.h"

namespace mlc::graph {

void group_experts(Module& module);

}  // namespace mlc::graph
