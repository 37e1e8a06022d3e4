// The node's operands, and the arithmetic of elementwise ops.
#include "kernel/lower/context.h"

#include "base/check.h"
#include "base/strings.h"

namespace mlc::kernel {

Dim elements_of(const graph::Shape& shape) {
  Dim total(1);
  for (const Dim& d : shape) total = total * d;
  return total;
}

Dim rows_of(const graph::TensorType& type) { return elements_of({type.shape.begin(), type.shape.end() - 1}); }

View Lowering::view(size_t i) const {
  const graph::TensorType& t = type(i);
  internal_check(t.shape.size() >= 2 && t.shape.back().is_const(),
                 str(node.op, ": operand ", i, " is no matrix"));
  if (i < options.input_views.size() && options.input_views[i].row_stride) return options.input_views[i];
  return {t.shape.back().constant(), 0};
}

const graph::KvCache& Lowering::cache() const {
  const graph::KvCache* found = module.find_state(node.state);
  internal_check(found != nullptr, str(node.op, ": no state named ", node.state));
  return *found;
}

ExprRef elementwise_value(const graph::Node& node, const std::vector<ExprRef>& v) {
  if (node.op == "add" || node.op == "bias") return v[0] + v[1];
  if (node.op == "mul") return v[0] * v[1];
  if (node.op == "activation") return apply_activation(node.get_string("function"), v[0]);
  return v[0];  // cast: the store rounds
}

ExprRef apply_activation(const std::string& function, ExprRef x) {
  if (function == "silu") return x / (call(MathFn::kExp, unary(UnaryOp::kNeg, x)) + 1.0);
  if (function == "relu") return select(binary(BinaryOp::kLt, x, float_const(0)), float_const(0, x->type), x);
  if (function == "gelu") return (x * 0.5) * (call(MathFn::kErf, x * 0.70710678118654752440) + 1.0);
  if (function == "gelu_tanh") {
    ExprRef inner = (x + x * x * x * 0.044715) * 0.79788456080286535588;  // sqrt(2 / pi)
    return (x * 0.5) * (call(MathFn::kTanh, inner) + 1.0);
  }
  internal_error(str("unknown activation ", function));
}

Rotation rotation_of(const graph::Node& node) {
  return {node.get_int("head_dim"), node.get_int("rotary_dim"), node.get_bool_or("interleaved", false)};
}

}  // namespace mlc::kernel
