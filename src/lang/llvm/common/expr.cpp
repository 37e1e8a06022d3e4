// Expressions: constants, arithmetic, comparisons and lane movement.
#include "base/check.h"
#include "base/half.h"
#include "base/strings.h"
#include "lang/llvm/common/emitter.h"

namespace mlc::lang {

using kernel::BinaryOp;
using kernel::Expr;
using kernel::ExprKind;
using kernel::ExprRef;
using kernel::Type;
using kernel::UnaryOp;
using llvm::Value;

Value* FunctionEmitter::value(const ExprRef& e) {
  internal_check(e != nullptr, "kernel IR: an expression is missing");
  if (auto found = memo_.find(e.get()); found != memo_.end()) return found->second;
  Value* v = emit(*e);
  if (v->getType() != value_type(context_, e->type))
    internal_error(str("emitter: a node of kind ", static_cast<int>(e->kind), " is not ", e->type.text()));
  memo_[e.get()] = v;
  return v;
}

Value* FunctionEmitter::emit(const Expr& e) {
  switch (e.kind) {
    case ExprKind::kIntConst:
    case ExprKind::kFloatConst: return emit_constant(e);
    case ExprKind::kVar: {
      auto found = variables_.find(e.name);
      if (found == variables_.end())
        internal_error(str("kernel ", kernel_.name, ": unknown variable ", e.name));
      return found->second;
    }
    case ExprKind::kDim: {
      auto found = dims_.find(e.name);
      if (found == dims_.end()) internal_error(str("kernel ", kernel_.name, ": unknown dimension ", e.name));
      return found->second;
    }
    case ExprKind::kLoad: return emit_load(e);
    case ExprKind::kGather: return emit_gather(e);
    case ExprKind::kUnary: return emit_unary(e);
    case ExprKind::kBinary: return emit_binary(e);
    case ExprKind::kSelect:
      return b_.CreateSelect(value(e.operands[0]), value(e.operands[1]), value(e.operands[2]));
    case ExprKind::kCast: return convert(b_, value(e.operands[0]), e.operands[0]->type, e.type, conversions_);
    case ExprKind::kBitcast: return b_.CreateBitCast(value(e.operands[0]), value_type(context_, e.type));
    case ExprKind::kBroadcast:
      return e.type.lanes == 1 ? value(e.operands[0])
                               : b_.CreateVectorSplat(e.type.lanes, value(e.operands[0]));
    case ExprKind::kRamp: return emit_ramp(e);
    case ExprKind::kShuffle: return emit_shuffle(e);
    case ExprKind::kFma: return emit_fma(e);
    case ExprKind::kReduce: return emit_reduce(e);
    case ExprKind::kCall: internal_error(str("kernel ", kernel_.name, ": expand_math left a math call"));
    case ExprKind::kDot4:
    case ExprKind::kDot2U8S8:
    case ExprKind::kDot2I16:
    case ExprKind::kUnpackHalf:
    case ExprKind::kPackHalf:
    case ExprKind::kHalfFma:
    case ExprKind::kSubgroup:
    case ExprKind::kSubgroupXor:
    case ExprKind::kSubgroupBroadcast: return emit_special(e);
  }
  internal_error("kernel IR: unknown expression kind");
}

Value* FunctionEmitter::emit_constant(const Expr& e) {
  llvm::Type* type = value_type(context_, e.type);
  double x = e.kind == ExprKind::kFloatConst ? e.float_value : static_cast<double>(e.int_value);
  switch (e.type.dtype) {
    case DType::kF16: return llvm::ConstantInt::get(type, f32_to_f16(static_cast<float>(x)));
    case DType::kBF16: return llvm::ConstantInt::get(type, f32_to_bf16(static_cast<float>(x)));
    case DType::kF32: return llvm::ConstantFP::get(type, static_cast<float>(x));
    case DType::kF64: return llvm::ConstantFP::get(type, x);
    default: break;
  }
  internal_check(e.kind == ExprKind::kIntConst && (is_int(e.type.dtype) || e.type.dtype == DType::kBool),
                 "kernel IR: a constant does not fit its type");
  return llvm::ConstantInt::get(type, static_cast<uint64_t>(e.int_value), is_signed_int(e.type.dtype));
}

namespace {

// The small floats are for memory: kernels cast them to f32 to compute.
void check_arithmetic(const Type& type) {
  if (is_small_float(type.dtype))
    internal_error(str("kernel IR: arithmetic on ", type.text(), ", which has none"));
}

}  // namespace

Value* FunctionEmitter::emit_unary(const Expr& e) {
  DType dtype = e.type.dtype;
  check_arithmetic(e.type);
  Value* a = value(e.operands[0]);
  switch (e.unary) {
    case UnaryOp::kNeg: return is_float(dtype) ? b_.CreateFNeg(a) : b_.CreateNeg(a);
    case UnaryOp::kAbs:
      if (is_float(dtype)) return b_.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, a);
      return is_signed_int(dtype) ? b_.CreateBinaryIntrinsic(llvm::Intrinsic::abs, a, b_.getFalse()) : a;
    case UnaryOp::kSqrt: return square_root(a);
    case UnaryOp::kFloor: return is_float(dtype) ? round_down(b_, a, conversions_) : a;
    case UnaryOp::kRoundEven: return is_float(dtype) ? round_even(b_, a, conversions_) : a;
    case UnaryOp::kNot: return b_.CreateNot(a);
  }
  internal_error("kernel IR: unknown unary operator");
}

Value* FunctionEmitter::emit_binary(const Expr& e) {
  Value* a = value(e.operands[0]);
  Value* b = value(e.operands[1]);
  const Type& type = e.operands[0]->type;
  if (a->getType() != b->getType())
    internal_error(
        str("kernel IR: operands of ", type.text(), " and ", e.operands[1]->type.text(), " in one operator"));
  return e.binary >= BinaryOp::kEq ? compare(e.binary, a, b, type) : arithmetic(e.binary, a, b, type);
}

Value* FunctionEmitter::arithmetic(BinaryOp op, Value* a, Value* b, const Type& type) {
  check_arithmetic(type);
  return is_float(type.dtype) ? float_arithmetic(op, a, b) : int_arithmetic(op, a, b, type);
}

Value* FunctionEmitter::float_arithmetic(BinaryOp op, Value* a, Value* b) {
  switch (op) {
    case BinaryOp::kAdd: return b_.CreateFAdd(a, b);
    case BinaryOp::kSub: return b_.CreateFSub(a, b);
    case BinaryOp::kMul: return b_.CreateFMul(a, b);
    case BinaryOp::kDiv: return float_divide(a, b);
    case BinaryOp::kMin: return float_min_max(true, a, b);
    case BinaryOp::kMax: return float_min_max(false, a, b);
    default: internal_error("kernel IR: this operator is not defined for floats");
  }
}

Value* FunctionEmitter::square_root(Value* a) { return b_.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, a); }

Value* FunctionEmitter::floor_divide(Value* a, Value* b, bool want_remainder) {
  const llvm::APInt* power = nullptr;
  auto* constant = llvm::dyn_cast<llvm::Constant>(b);
  if (constant && constant->getType()->isVectorTy()) constant = constant->getSplatValue();
  if (auto* number = llvm::dyn_cast_or_null<llvm::ConstantInt>(constant);
      number && number->getValue().isPowerOf2())
    power = &number->getValue();
  if (power) {
    if (want_remainder) return b_.CreateAnd(a, llvm::ConstantInt::get(a->getType(), *power - 1));
    return b_.CreateAShr(a, power->logBase2());
  }
  Value* zero = llvm::Constant::getNullValue(a->getType());
  Value* quotient = b_.CreateSDiv(a, b);
  Value* remainder = b_.CreateSub(a, b_.CreateMul(quotient, b));
  Value* negative = b_.CreateICmpSLT(remainder, zero);
  if (want_remainder) return b_.CreateAdd(remainder, b_.CreateSelect(negative, b, zero));
  return b_.CreateAdd(quotient, b_.CreateSExt(negative, a->getType()));
}

Value* FunctionEmitter::int_arithmetic(BinaryOp op, Value* a, Value* b, const Type& type) {
  bool is_signed = is_signed_int(type.dtype);
  namespace I = llvm::Intrinsic;
  switch (op) {
    case BinaryOp::kAdd: return b_.CreateAdd(a, b);
    case BinaryOp::kSub: return b_.CreateSub(a, b);
    case BinaryOp::kMul: return b_.CreateMul(a, b);
    case BinaryOp::kDiv: return is_signed ? b_.CreateSDiv(a, b) : b_.CreateUDiv(a, b);
    case BinaryOp::kFloorDiv: return is_signed ? floor_divide(a, b, false) : b_.CreateUDiv(a, b);
    case BinaryOp::kMod: return is_signed ? floor_divide(a, b, true) : b_.CreateURem(a, b);
    case BinaryOp::kMin: return b_.CreateBinaryIntrinsic(is_signed ? I::smin : I::umin, a, b);
    case BinaryOp::kMax: return b_.CreateBinaryIntrinsic(is_signed ? I::smax : I::umax, a, b);
    case BinaryOp::kAnd: return b_.CreateAnd(a, b);
    case BinaryOp::kOr: return b_.CreateOr(a, b);
    case BinaryOp::kXor: return b_.CreateXor(a, b);
    case BinaryOp::kShl: return b_.CreateShl(a, b);
    case BinaryOp::kShr: return is_signed ? b_.CreateAShr(a, b) : b_.CreateLShr(a, b);
    default: internal_error("kernel IR: this operator is not defined for integers");
  }
}

Value* FunctionEmitter::compare(BinaryOp op, Value* a, Value* b, const Type& type) {
  using P = llvm::CmpInst;
  int which = static_cast<int>(op) - static_cast<int>(BinaryOp::kEq);  // order of BinaryOp: eq ne lt le gt ge
  static constexpr P::Predicate kFloat[] = {P::FCMP_OEQ, P::FCMP_UNE, P::FCMP_OLT,
                                            P::FCMP_OLE, P::FCMP_OGT, P::FCMP_OGE};
  static constexpr P::Predicate kSigned[] = {P::ICMP_EQ,  P::ICMP_NE,  P::ICMP_SLT,
                                             P::ICMP_SLE, P::ICMP_SGT, P::ICMP_SGE};
  static constexpr P::Predicate kUnsigned[] = {P::ICMP_EQ,  P::ICMP_NE,  P::ICMP_ULT,
                                               P::ICMP_ULE, P::ICMP_UGT, P::ICMP_UGE};
  check_arithmetic(type);
  if (is_float(type.dtype)) return b_.CreateFCmp(kFloat[which], a, b);
  return b_.CreateICmp(is_signed_int(type.dtype) ? kSigned[which] : kUnsigned[which], a, b);
}

Value* FunctionEmitter::emit_fma(const Expr& e) {
  if (!target_.fma || is_small_float(e.type.dtype))
    internal_error(str("kernel IR: ", target_.name, " has no fma of ", e.type.text(),
                       "; legalize should have expanded it"));
  return b_.CreateIntrinsic(llvm::Intrinsic::fma, {value_type(context_, e.type)},
                            {value(e.operands[0]), value(e.operands[1]), value(e.operands[2])});
}

// operands[0] = base; int_value = stride, as ramp() of builder.h makes it.
Value* FunctionEmitter::emit_ramp(const Expr& e) {
  Value* base = value(e.operands[0]);
  llvm::Type* scalar = base->getType();
  if (e.type.lanes == 1) return base;
  int64_t stride = e.int_value;
  std::vector<llvm::Constant*> steps;
  for (int i = 0; i < e.type.lanes; ++i)
    steps.push_back(llvm::ConstantInt::get(scalar, static_cast<uint64_t>(stride * i), true));
  return b_.CreateAdd(b_.CreateVectorSplat(e.type.lanes, base), llvm::ConstantVector::get(steps));
}

namespace {

// One vector holding the lanes of all parts in order; narrower parts are first brought to equal widths.
Value* concatenate(Builder& b, std::vector<Value*> parts) {
  auto lanes = [](Value* v) {
    auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(v->getType());
    return vector ? static_cast<int>(vector->getNumElements()) : 1;
  };
  Value* all = parts[0];
  if (lanes(all) == 1 && !all->getType()->isVectorTy())
    all = b.CreateInsertElement(llvm::PoisonValue::get(llvm::FixedVectorType::get(all->getType(), 1)), all,
                                uint64_t{0});
  for (size_t i = 1; i < parts.size(); ++i) {
    int have = lanes(all), more = lanes(parts[i]);
    std::vector<int> grow;
    for (int k = 0; k < have + more; ++k) grow.push_back(k < have ? k : -1);
    if (!parts[i]->getType()->isVectorTy()) {
      all = b.CreateInsertElement(b.CreateShuffleVector(all, grow), parts[i], static_cast<uint64_t>(have));
    } else if (have == more) {
      for (int k = 0; k < have + more; ++k) grow[k] = k;
      all = b.CreateShuffleVector(all, parts[i], grow);
    } else {
      std::vector<int> place(have + more, -1), both;
      for (int k = 0; k < more; ++k) place[have + k] = k;
      for (int k = 0; k < have + more; ++k) both.push_back(k < have ? k : have + more + k);
      all = b.CreateShuffleVector(b.CreateShuffleVector(all, grow), b.CreateShuffleVector(parts[i], place),
                                  both);
    }
  }
  return all;
}

// The operand that lane `lane` of the concatenation comes from, and the lane within it.
std::pair<size_t, int> find_lane(const Expr& e, int lane) {
  for (size_t i = 0; i < e.operands.size(); lane -= e.operands[i++]->type.lanes)
    if (lane < e.operands[i]->type.lanes) return {i, lane};
  internal_error("kernel IR: a shuffle reads past its operands");
}

}  // namespace

Value* FunctionEmitter::emit_shuffle(const Expr& e) {
  std::vector<Value*> parts;
  for (const ExprRef& operand : e.operands) parts.push_back(value(operand));
  if (e.pattern.size() == 1) {
    auto [part, lane] = find_lane(e, e.pattern[0]);
    if (!parts[part]->getType()->isVectorTy()) return parts[part];
    return b_.CreateExtractElement(parts[part], static_cast<uint64_t>(lane));
  }
  bool scalars = true;
  for (Value* part : parts) scalars &= !part->getType()->isVectorTy();
  if (scalars) {
    Value* v = llvm::PoisonValue::get(value_type(context_, e.type));
    for (size_t i = 0; i < e.pattern.size(); ++i)
      v = b_.CreateInsertElement(v, parts[find_lane(e, e.pattern[i]).first], static_cast<uint64_t>(i));
    return v;
  }
  if (parts.size() == 1) return b_.CreateShuffleVector(parts[0], e.pattern);
  if (parts.size() == 2 && parts[0]->getType() == parts[1]->getType())
    return b_.CreateShuffleVector(parts[0], parts[1], e.pattern);
  return b_.CreateShuffleVector(concatenate(b_, parts), e.pattern);
}

Value* FunctionEmitter::emit_reduce(const Expr& e) {
  Value* v = value(e.operands[0]);
  Type type = e.operands[0]->type;
  while (type.lanes > 1) {
    int half = type.lanes / 2;
    if (half == 1) {
      v = arithmetic(e.binary, b_.CreateExtractElement(v, uint64_t{0}),
                     b_.CreateExtractElement(v, uint64_t{1}), type.with_lanes(1));
    } else {
      std::vector<int> low(half), high(half);
      for (int i = 0; i < half; ++i) low[i] = i, high[i] = i + half;
      v = arithmetic(e.binary, b_.CreateShuffleVector(v, low), b_.CreateShuffleVector(v, high),
                     type.with_lanes(half));
    }
    type = type.with_lanes(half);
  }
  return v;
}

}  // namespace mlc::lang
