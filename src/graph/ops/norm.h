// The norm that a matmul may apply to the rows of x before it multiplies them.
//
// Attribute kNormAttribute names the op whose meaning it has, "rms_norm" or "layer_norm", `eps` is that op's,
// and its weight, then its bias if it has one, are the matmul's last inputs.
#pragma once

#include "graph/ops/registry.h"

namespace mlc::graph {

inline constexpr const char* kNormAttribute = "norm";

bool is_norm(const Node& node);  // rms_norm or layer_norm

// Place of the norm's weight among a matmul's inputs: after x, the weight and what chooses experts. Without a
// norm there are no more inputs.
size_t first_norm_input(const Node& matmul);

// Checks the number of a matmul's inputs, and those of its norm.
void check_matmul_norm(const Node& matmul);

// x as it is multiplied: `x`, or what the norm makes of it.
HostTensor normed(const Node& matmul, const std::vector<const HostTensor*>& inputs);

}  // namespace mlc::graph
