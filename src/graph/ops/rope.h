// The rotation shared by rope and rope_append.
#pragma once

#include <cstdint>

#include "graph/ir.h"

namespace mlc::graph {

// Rotates rotary_dim elements from `begin` on of each of `heads` heads of `head_dim` values in place;
// factors: cosines, then sines.
void rotate_heads(float* x, const float* factors, int64_t heads, int64_t head_dim, int64_t rotary_dim,
                  bool interleaved, int64_t begin = 0);

// Checks head_dim, rotary_dim, begin and operand `factors` (f32[rows, rotary_dim]) of a node.
void check_rotation(const Node& node, size_t factors, const Dim& rows);

}  // namespace mlc::graph
