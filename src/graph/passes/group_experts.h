// group_experts: in bodies that serve more than one row, the slots of each expert come to lie side by side:
// group_slots sorts them, take brings the rows of x into their order, the expert_matmuls run over runs of
// rows, and expert_sum finds a row's slots again. So the weight of an expert is read once for all its rows.
// The single row of other bodies has no two slots of one expert.
#pragma once

#include "graph/ir.h"

namespace mlc::graph {

void group_experts(Module& module);

}  // namespace mlc::graph
