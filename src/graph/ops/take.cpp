// take: rows of a table [V, H] by index: by i32[n], or by i32[rows, k], row by row. The table is a parameter
// (in any layout) or an activation; the result is f32, of quantized activations the same codes and scales.
#include <algorithm>

#include "graph/ops/check.h"
#include "graph/ops/math.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;

Dim count_of(const Node& node) {
  const TensorType& indices = node.inputs[1]->type;
  const bool in_rows = indices.kind == TensorType::Kind::kPlain && indices.dtype() == DType::kI32 &&
                       indices.shape.size() == 2 && indices.shape[1].is_const();
  return in_rows ? indices.shape[0] * indices.shape[1] : index_operand(node, 1);
}

std::vector<TensorType> infer(const Node& node, const Module&) {
  const TensorType& table = node.inputs[0]->type;
  if (table.kind == TensorType::Kind::kQ8Activation) {
    TensorType rows = table;
    rows.shape[0] = count_of(node);
    return {rows};
  }
  bool floats = table.kind == TensorType::Kind::kGroup ||
                (table.kind == TensorType::Kind::kPlain && is_float(table.dtype()));
  if (!floats || table.shape.size() != 2 || !table.shape[1].is_const())
    refuse(describe(node, 0), " is no table of float rows");
  return {TensorType::plain(DType::kF32, {count_of(node), table.shape[1]})};
}

std::vector<HostTensor> interpret(const Node&, const Inputs& in, const Inputs&, InterpretContext&) {
  const HostTensor &table = *in[0], &indices = *in[1];
  for (int32_t index : indices.ints)
    if (index < 0 || index >= table.shape[0])
      refuse("take: index ", index, " of a table of ", table.shape[0], " rows");
  return {take_rows(table, indices.ints)};
}

}  // namespace

std::vector<OpInfo> take_ops() {
  return {{.name = "take", .min_inputs = 2, .max_inputs = 2, .infer = infer, .interpret = interpret}};
}

}  // namespace mlc::graph
