// take: rows of a table [V, H] by index. The table is a parameter (in any layout) or an activation; the
// result is f32.
#include <algorithm>

#include "graph/ops/check.h"
#include "graph/ops/math.h"

namespace mlc::graph {
namespace {

using Inputs = std::vector<const HostTensor*>;

std::vector<TensorType> infer(const Node& node, const Module&) {
  const TensorType& table = node.inputs[0]->type;
  bool floats = table.kind == TensorType::Kind::kGroup ||
                (table.kind == TensorType::Kind::kPlain && is_float(table.dtype()));
  if (!floats || table.shape.size() != 2 || !table.shape[1].is_const())
    refuse(describe(node, 0), " is no table of float rows");
  return {TensorType::plain(DType::kF32, {index_operand(node, 1), table.shape[1]})};
}

std::vector<HostTensor> interpret(const Node&, const Inputs& in, const Inputs&, InterpretContext&) {
  const HostTensor &table = *in[0], &indices = *in[1];
  int64_t n = table.shape[1];
  HostTensor out = make_floats({indices.shape[0], n});
  for (int64_t r = 0; r < indices.shape[0]; ++r) {
    int64_t index = indices.ints[r];
    if (index < 0 || index >= table.shape[0])
      refuse("take: index ", index, " of a table of ", table.shape[0], " rows");
    std::copy_n(table.floats.data() + index * n, n, out.floats.data() + r * n);
  }
  return {std::move(out)};
}

}  // namespace

std::vector<OpInfo> take_ops() {
  return {{.name = "take", .min_inputs = 2, .max_inputs = 2, .infer = infer, .interpret = interpret}};
}

}  // namespace mlc::graph
