// Regions, and the functions they call.
#include "kernel/lower/region.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "base/strings.h"

namespace mlc::kernel {

using Op = graph::Region::Op;

LoweredRegion::LoweredRegion(Lowering& low, int64_t columns)
    : low_(low), region_(low.node.region), columns_(columns) {
  for (size_t i = 0; i < region_.operands.size(); ++i) {
    const graph::TensorType& type = region_.operands[i]->type;
    const std::string name = str("operand", i);
    const bool matrix = type.shape.size() == 2;
    operands_.push_back(matrix ? low.region_matrix(i, name) : low.vector(type, name));
    access_.push_back(graph::access_of(type, columns));
  }
}

int LoweredRegion::lanes() const {
  int lanes = 4;
  for (const graph::Region::Term& t : region_.terms) {
    if (t.op != Op::kOperand) continue;
    const auto i = static_cast<size_t>(t.a);
    if (access_[i] == graph::Access::kPerRow) continue;
    Operand x = operands_[i];
    if (t.b == 1) x.column_offset += columns_;
    lanes = std::min(lanes, x.lanes());
  }
  return lanes;
}

ExprRef LoweredRegion::load(const graph::Region::Term& t, const Unit& u) {
  const Operand& x = operands_[static_cast<size_t>(t.a)];
  if (access_[static_cast<size_t>(t.a)] == graph::Access::kPerRow)
    return low_.load(x, x.at(u.row, int_const(0)));
  ExprRef column = t.b == 1 ? u.column() + columns_ : u.column();
  return low_.load(x, x.at(u.row, column), u.lanes, u.mask);
}

ExprRef LoweredRegion::apply(const Unit& u, const std::vector<ExprRef>& computed) {
  if (region_.empty()) return computed[0];
  KernelBuilder& k = low_.k;
  std::vector<ExprRef> values;
  for (const graph::Region::Term& t : region_.terms) {
    auto of = [&](int term) { return values[static_cast<size_t>(term)]; };
    auto name = [&](const ExprRef& value) { return k.let("x", value); };
    switch (t.op) {
      case Op::kAccumulator: values.push_back(computed[static_cast<size_t>(t.a)]); break;
      case Op::kOperand: values.push_back(load(t, u)); break;
      case Op::kConstant: values.push_back(float_const(t.value)); break;
      case Op::kAdd: values.push_back(name(of(t.a) + of(t.b))); break;
      case Op::kSub: values.push_back(name(of(t.a) - of(t.b))); break;
      case Op::kMul: values.push_back(name(of(t.a) * of(t.b))); break;
      case Op::kDiv: values.push_back(name(of(t.a) / of(t.b))); break;
      case Op::kClamp: {  // by selects: NaN stays
        ExprRef x = of(t.a);
        if (std::isfinite(t.value)) x = name(select(less(x, float_const(t.value)), float_const(t.value), x));
        if (std::isfinite(t.high)) x = name(select(less(float_const(t.high), x), float_const(t.high), x));
        values.push_back(x);
        break;
      }
      case Op::kCall: values.push_back(name(apply_function(t.function, of(t.a)))); break;
    }
  }
  return values.back();
}

ExprRef head_slope(KernelBuilder& k, const graph::Node& node, const ExprRef& head) {
  if (!node.attributes.count("alibi")) return nullptr;
  const int64_t heads = node.get_int("heads"),
                n = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  const double step = node.get_double("alibi") / static_cast<double>(n);
  ExprRef at = k.let("head", head), power = (cast(at, DType::kF32) + 1.0) * step;
  if (n < heads) {
    ExprRef between = cast((at - n) * 2 + 1, DType::kF32) * (step / 2);
    power = select(less(at, int_const(n)), power, between);
  }
  return k.let("slope", call(MathFn::kExp, power * -std::numbers::ln2));
}

ExprRef score_of(Lowering& low, const ExprRef& x, const ExprRef& slope, const ExprRef& distance) {
  if (low.node.region.empty()) return x;
  std::vector<ExprRef> computed = {low.k.let("x", x)};
  if (slope) computed.push_back(low.k.let("bias", slope * cast(distance, DType::kF32)));
  return LoweredRegion(low, 1).apply({}, computed);
}

ExprRef apply_function(const std::string& function, const ExprRef& x) {
  auto logistic = [&](const ExprRef& y) { return call(MathFn::kExp, y) + 1.0; };  // 1 + e^y
  auto positive = [&] {
    return select(binary(BinaryOp::kLt, x, float_const(0)), float_const(0, x->type), x);
  };
  if (function == "silu") return x / logistic(unary(UnaryOp::kNeg, x));
  if (function == "sigmoid") return float_const(1, x->type) / logistic(unary(UnaryOp::kNeg, x));
  if (function == "quick_gelu") return x / logistic(x * -1.702);
  if (function == "relu") return positive();
  if (function == "relu2") {
    ExprRef root = positive();
    return root * root;
  }
  if (function == "gelu") return (x * 0.5) * (call(MathFn::kErf, x * 0.70710678118654752440) + 1.0);
  if (function == "gelu_tanh") {
    ExprRef inner = (x + x * x * x * 0.044715) * 0.79788456080286535588;  // sqrt(2 / pi)
    return (x * 0.5) * (call(MathFn::kTanh, inner) + 1.0);
  }
  if (function == "exp") return call(MathFn::kExp, x);
  if (function == "tanh") return call(MathFn::kTanh, x);
  internal_error(str("unknown function ", function));
}

}  // namespace mlc::kernel
