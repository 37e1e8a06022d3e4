// Expression constructors of builder.h: each checks its operands' types, and index arithmetic folds as it is
// built.
#include <bit>
#include <optional>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/builder.h"

namespace mlc::kernel {
namespace {

std::shared_ptr<Expr> make(ExprKind kind, Type type, std::vector<ExprRef> operands = {}) {
  auto e = std::make_shared<Expr>();
  e->kind = kind;
  e->type = type;
  e->operands = std::move(operands);
  return e;
}

bool is_scalar_const(const ExprRef& e) {
  return (e->kind == ExprKind::kIntConst || e->kind == ExprKind::kFloatConst) && e->type.lanes == 1;
}

bool is_int_const(const ExprRef& e, int64_t value) {
  return e->kind == ExprKind::kIntConst && e->int_value == value;
}

// A constant of `type` with the value of the scalar constant `e`.
ExprRef constant_as(const ExprRef& e, Type type) {
  bool from_float = e->kind == ExprKind::kFloatConst;
  if (is_float(type.dtype))
    return float_const(from_float ? e->float_value : static_cast<double>(e->int_value), type);
  internal_check(!from_float, "a float constant meets an integer operand");
  return int_const(e->int_value, type);
}

// Scalars adapt to vectors: constants take the other's type, other scalars are broadcast.
void adapt(ExprRef& a, ExprRef& b) {
  if (a->type == b->type) return;
  if (is_scalar_const(a)) {
    a = constant_as(a, b->type);
  } else if (is_scalar_const(b)) {
    b = constant_as(b, a->type);
  } else if (a->type.lanes == 1) {
    a = broadcast(a, b->type.lanes);
  } else if (b->type.lanes == 1) {
    b = broadcast(b, a->type.lanes);
  }
  internal_check(a->type == b->type, "operands of types ", a->type.text(), " and ", b->type.text());
}

// i64 scalar arithmetic with a constant operand, or nullptr. Only exact identities on wrapping integers.
ExprRef fold_index(BinaryOp op, const ExprRef& a, const ExprRef& b) {
  if (a->type != Type{DType::kI64, 1}) return nullptr;
  bool ca = a->kind == ExprKind::kIntConst, cb = b->kind == ExprKind::kIntConst;
  auto dim_op = [&]() -> std::optional<DimOp> {
    switch (op) {
      case BinaryOp::kAdd: return DimOp::kAdd;
      case BinaryOp::kSub: return DimOp::kSub;
      case BinaryOp::kMul: return DimOp::kMul;
      case BinaryOp::kFloorDiv: return DimOp::kFloorDiv;
      case BinaryOp::kMod: return DimOp::kMod;
      case BinaryOp::kMin: return DimOp::kMin;
      case BinaryOp::kMax: return DimOp::kMax;
      default: return std::nullopt;
    }
  }();
  if (!dim_op) return nullptr;
  if (ca && cb) {
    auto value = apply(*dim_op, a->int_value, b->int_value);
    return value ? int_const(*value) : nullptr;
  }
  if (op == BinaryOp::kAdd && is_int_const(a, 0)) return b;
  if ((op == BinaryOp::kAdd || op == BinaryOp::kSub) && is_int_const(b, 0)) return a;
  if (op == BinaryOp::kMul && (is_int_const(a, 0) || is_int_const(b, 0))) return int_const(0);
  if (op == BinaryOp::kMul && is_int_const(a, 1)) return b;
  if ((op == BinaryOp::kMul || op == BinaryOp::kFloorDiv) && is_int_const(b, 1)) return a;
  if (op == BinaryOp::kMod && is_int_const(b, 1)) return int_const(0);
  return nullptr;
}

bool is_comparison(BinaryOp op) { return op >= BinaryOp::kEq; }

ExprRef constant_like(const ExprRef& a, const Number& value) {
  if (is_float(a->type.dtype))
    return float_const(value.is_real ? value.real : static_cast<double>(value.integer), a->type);
  internal_check(!value.is_real, "an integer operand needs an integer constant");
  return int_const(value.integer, a->type);
}

}  // namespace

ExprRef int_const(int64_t value, Type type) {
  internal_check(!is_float(type.dtype), "int_const of a float type");
  auto e = make(ExprKind::kIntConst, type);
  e->int_value = value;
  return e;
}

ExprRef float_const(double value, Type type) {
  internal_check(is_float(type.dtype), "float_const of an integer type");
  auto e = make(ExprKind::kFloatConst, type);
  e->float_value = type.dtype == DType::kF32 ? static_cast<double>(static_cast<float>(value)) : value;
  return e;
}

ExprRef variable(const std::string& name, Type type) {
  auto e = make(ExprKind::kVar, type);
  e->name = name;
  return e;
}

ExprRef dim_expr(const Dim& dim) {
  if (dim.is_const()) return int_const(dim.constant());
  if (dim.op() == DimOp::kSymbol) {
    auto e = make(ExprKind::kDim, {DType::kI64, 1});
    e->name = dim.name();
    return e;
  }
  ExprRef a = dim_expr(dim.lhs()), b = dim_expr(dim.rhs());
  switch (dim.op()) {
    case DimOp::kAdd: return a + b;
    case DimOp::kSub: return a - b;
    case DimOp::kMul: return a * b;
    case DimOp::kFloorDiv: return a / b;
    case DimOp::kCeilDiv: return (a + (b - 1)) / b;
    case DimOp::kMod: return binary(BinaryOp::kMod, a, b);
    case DimOp::kMin: return binary(BinaryOp::kMin, a, b);
    case DimOp::kMax: return binary(BinaryOp::kMax, a, b);
    default: internal_error("a dimension operator without arithmetic");
  }
}

ExprRef unary(UnaryOp op, ExprRef a) {
  Type type = a->type;
  auto e = make(ExprKind::kUnary, type, {std::move(a)});
  e->unary = op;
  return e;
}

ExprRef binary(BinaryOp op, ExprRef a, ExprRef b) {
  adapt(a, b);
  if (ExprRef folded = fold_index(op, a, b)) return folded;
  Type type = is_comparison(op) ? a->type.with_dtype(DType::kBool) : a->type;
  auto e = make(ExprKind::kBinary, type, {std::move(a), std::move(b)});
  e->binary = op;
  return e;
}

ExprRef select(ExprRef condition, ExprRef a, ExprRef b) {
  adapt(a, b);
  internal_check(condition->type.dtype == DType::kBool, "select needs a bool condition");
  if (condition->type.lanes == 1) condition = broadcast(condition, a->type.lanes);
  if (a->type.lanes == 1 && condition->type.lanes > 1) {
    a = broadcast(a, condition->type.lanes);
    b = broadcast(b, condition->type.lanes);
  }
  Type type = a->type;
  return make(ExprKind::kSelect, type, {std::move(condition), std::move(a), std::move(b)});
}

ExprRef cast(ExprRef a, DType to) {
  if (a->type.dtype == to) return a;
  Type type = a->type.with_dtype(to);
  return make(ExprKind::kCast, type, {std::move(a)});
}

ExprRef bitcast(ExprRef a, Type to) {
  internal_check(size_of(a->type.dtype) * a->type.lanes == size_of(to.dtype) * to.lanes,
                 "bitcast changes the size");
  return a->type == to ? a : make(ExprKind::kBitcast, to, {std::move(a)});
}

ExprRef broadcast(ExprRef a, int lanes) {
  internal_check(a->type.lanes == 1, "broadcast of a vector");
  if (lanes == 1) return a;
  if (is_scalar_const(a)) return constant_as(a, a->type.with_lanes(lanes));
  Type type = a->type.with_lanes(lanes);
  return make(ExprKind::kBroadcast, type, {std::move(a)});
}

ExprRef ramp(ExprRef base, int64_t stride, int lanes) {
  internal_check(base->type.lanes == 1 && is_int(base->type.dtype), "ramp needs an integer scalar");
  if (lanes == 1) return base;
  Type type = base->type.with_lanes(lanes);
  auto e = make(ExprKind::kRamp, type, {std::move(base)});
  e->int_value = stride;
  return e;
}

ExprRef shuffle(std::vector<ExprRef> operands, std::vector<int> pattern) {
  internal_check(!operands.empty() && std::has_single_bit(pattern.size()),
                 "shuffle needs operands and 2^n lanes");
  Type type = operands[0]->type.with_lanes(static_cast<int>(pattern.size()));
  auto e = make(ExprKind::kShuffle, type, std::move(operands));
  e->pattern = std::move(pattern);
  return e;
}

ExprRef extract(ExprRef a, int lane) {
  internal_check(lane >= 0 && lane < a->type.lanes, "extract of a lane that is not there");
  return a->type.lanes == 1 ? a : shuffle({std::move(a)}, {lane});
}

ExprRef fma(ExprRef a, ExprRef b, ExprRef c) {
  adapt(a, b);
  adapt(b, c);
  adapt(a, c);
  internal_check(is_float(a->type.dtype), "fma needs floats");
  Type type = a->type;
  return make(ExprKind::kFma, type, {std::move(a), std::move(b), std::move(c)});
}

ExprRef dot4(ExprRef a, ExprRef b, ExprRef accumulator) {
  Type type = accumulator->type;
  return make(ExprKind::kDot4, type, {std::move(a), std::move(b), std::move(accumulator)});
}

ExprRef dot2_u8s8(ExprRef a, ExprRef b) {
  Type type{DType::kI16, a->type.lanes / 2};
  return make(ExprKind::kDot2U8S8, type, {std::move(a), std::move(b)});
}

ExprRef dot2_i16(ExprRef a, ExprRef b) {
  Type type{DType::kI32, a->type.lanes / 2};
  return make(ExprKind::kDot2I16, type, {std::move(a), std::move(b)});
}

ExprRef reduce(BinaryOp op, ExprRef a) {
  if (a->type.lanes == 1) return a;
  Type type = a->type.with_lanes(1);
  auto e = make(ExprKind::kReduce, type, {std::move(a)});
  e->binary = op;
  return e;
}

ExprRef call(MathFn function, ExprRef a) {
  internal_check(a->type.dtype == DType::kF32, "math functions take f32");
  Type type = a->type;
  auto e = make(ExprKind::kCall, type, {std::move(a)});
  e->math = function;
  return e;
}

ExprRef unpack_half(ExprRef word) {
  internal_check(word->type == Type{DType::kU32, 1}, "unpack_half takes a u32");
  return make(ExprKind::kUnpackHalf, {DType::kF32, 2}, {std::move(word)});
}

ExprRef pack_half(ExprRef pair) {
  internal_check(pair->type == Type{DType::kF32, 2}, "pack_half takes two f32");
  return make(ExprKind::kPackHalf, {DType::kU32, 1}, {std::move(pair)});
}

ExprRef half_fma(ExprRef a, ExprRef b, ExprRef c) {
  const Type word{DType::kU32, 1};
  internal_check(a->type == word && b->type == word && c->type == word, "half_fma takes three u32");
  return make(ExprKind::kHalfFma, word, {std::move(a), std::move(b), std::move(c)});
}

ExprRef subgroup(BinaryOp op, ExprRef a) {
  Type type = a->type;
  auto e = make(ExprKind::kSubgroup, type, {std::move(a)});
  e->binary = op;
  return e;
}

ExprRef subgroup_xor(ExprRef a, int64_t mask) {
  Type type = a->type;
  auto e = make(ExprKind::kSubgroupXor, type, {std::move(a)});
  e->int_value = mask;
  return e;
}

ExprRef subgroup_broadcast(ExprRef a, int64_t lane) {
  Type type = a->type;
  auto e = make(ExprKind::kSubgroupBroadcast, type, {std::move(a)});
  e->int_value = lane;
  return e;
}

ExprRef operator+(ExprRef a, ExprRef b) { return binary(BinaryOp::kAdd, std::move(a), std::move(b)); }
ExprRef operator-(ExprRef a, ExprRef b) { return binary(BinaryOp::kSub, std::move(a), std::move(b)); }
ExprRef operator*(ExprRef a, ExprRef b) { return binary(BinaryOp::kMul, std::move(a), std::move(b)); }
ExprRef operator/(ExprRef a, ExprRef b) {
  BinaryOp op = is_float(a->type.dtype) ? BinaryOp::kDiv : BinaryOp::kFloorDiv;
  return binary(op, std::move(a), std::move(b));
}
ExprRef operator+(ExprRef a, Number b) { return a + constant_like(a, b); }
ExprRef operator-(ExprRef a, Number b) { return a - constant_like(a, b); }
ExprRef operator*(ExprRef a, Number b) { return a * constant_like(a, b); }
ExprRef operator/(ExprRef a, Number b) { return a / constant_like(a, b); }
ExprRef operator%(ExprRef a, Number b) { return binary(BinaryOp::kMod, a, constant_like(a, b)); }
ExprRef less(ExprRef a, ExprRef b) { return binary(BinaryOp::kLt, std::move(a), std::move(b)); }

}  // namespace mlc::kernel
