// What the lowerings for CPUs and for GPUs share: the node, the target, and the builder of its kernel.
#pragma once

#include <string>
#include <vector>

#include "kernel/builder.h"
#include "kernel/lower/lower.h"

namespace mlc::kernel {

struct Lowering {
  const graph::Node& node;
  const graph::Module& module;
  const LowerOptions& options;
  const Target& target;
  KernelBuilder k;

  Lowering(const graph::Node& n, const graph::Module& m, const LowerOptions& o)
      : node(n), module(m), options(o), target(*o.target), k(n.op) {}

  bool single_row() const { return options.max_rows == 1; }
  const graph::TensorType& type(size_t i) const { return node.inputs[i]->type; }
  // Where operand i, a matrix, lies: as options.input_views says, or dense.
  View view(size_t i) const;
  const graph::KvCache& cache() const;
};

Dim elements_of(const graph::Shape& shape);
// Rows of a tensor in memory: the product of all its dimensions but the last.
Dim rows_of(const graph::TensorType& type);

// What add, bias, mul, activation and cast compute of their operands' f32 elements.
ExprRef elementwise_value(const graph::Node& node, const std::vector<ExprRef>& v);
// An activation function of graph/ops/math.h on f32.
ExprRef apply_activation(const std::string& function, ExprRef x);

// How heads are rotated, as the attributes of rope and rope_append say.
struct Rotation {
  int64_t head_dim = 0, rotary_dim = 0;
  bool interleaved = false;
};
Rotation rotation_of(const graph::Node& node);

// Elements of a row, or of one head of it: n of them from an index on; what becomes of them.
using LoadElement = std::function<ExprRef(ExprRef, int)>;
using PutElement = std::function<void(ExprRef, ExprRef)>;

}  // namespace mlc::kernel
