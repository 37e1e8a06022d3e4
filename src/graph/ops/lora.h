// What the ops of low-rank adapters (ops/lora.cpp) have in common with their kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/ops/registry.h"

namespace mlc::graph {

inline constexpr char kLoraParts[] = "parts";

// The widths of the column parts of a lora_expand.
std::vector<int64_t> lora_parts(const Node& node);

}  // namespace mlc::graph
