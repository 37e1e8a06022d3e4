// Expressions: constants, arithmetic, conversions, lane movement and subgroup operations.
#include <bit>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/print.h"
#include "lang/spirv/emitter.h"

namespace mlc::lang::spirv {

using kernel::BinaryOp;
using kernel::Expr;
using kernel::ExprKind;
using kernel::ExprRef;
using kernel::Type;
using kernel::UnaryOp;

void FunctionEmitter::fail(const std::string& what) const {
  internal_error(str("SPIR-V emitter: kernel ", kernel_.name, ": ", what));
}

Id FunctionEmitter::type_of(const Type& type) {
  if (type.lanes != 1 && type.lanes != 2 && type.lanes != 4)
    fail(type.text() + " is no type of a device function");
  switch (type.dtype) {
    case DType::kBool: return module_.vector_of(module_.type_bool(), type.lanes);
    case DType::kI32:
    case DType::kU32: return module_.vector_of(module_.type_int(), type.lanes);
    case DType::kF32: return module_.vector_of(module_.type_float(), type.lanes);
    default: fail(type.text() + " is no type of a device function");
  }
}

Id FunctionEmitter::instruction(Op op, Id type, const Words& operands) {
  Id id = module_.fresh();
  append(body_, op, {type, id}, operands);
  return id;
}

Id FunctionEmitter::glsl(Glsl function, Id type, const Words& operands) {
  Words all = {module_.glsl(), static_cast<uint32_t>(function)};
  all.insert(all.end(), operands.begin(), operands.end());
  return instruction(Op::kExtInst, type, all);
}

Id FunctionEmitter::splat(const Type& type, Id scalar) {
  if (type.lanes == 1) return scalar;
  return instruction(Op::kCompositeConstruct, type_of(type), Words(static_cast<size_t>(type.lanes), scalar));
}

Id FunctionEmitter::value(const ExprRef& e) {
  internal_check(e != nullptr, "kernel IR: an expression is missing");
  if (auto found = memo_.find(e.get()); found != memo_.end()) return found->second;
  Id id = emit(*e);
  memo_[e.get()] = id;
  return id;
}

Id FunctionEmitter::emit(const Expr& e) {
  auto named = [&](const std::unordered_map<std::string, Id>& scope) {
    auto found = scope.find(e.name);
    if (found == scope.end()) fail("unknown name " + e.name);
    return found->second;
  };
  switch (e.kind) {
    case ExprKind::kIntConst:
    case ExprKind::kFloatConst: return emit_constant(e);
    case ExprKind::kVar: return named(names_);
    case ExprKind::kDim: return named(dims_);
    case ExprKind::kLoad: {
      Words operands = {pointer(e.buffer, e.operands[0])}, more = memory_operands(e.buffer);
      operands.insert(operands.end(), more.begin(), more.end());
      return instruction(Op::kLoad, type_of(e.type), operands);
    }
    case ExprKind::kUnary: return emit_unary(e);
    case ExprKind::kBinary: return emit_binary(e);
    case ExprKind::kSelect:
      return instruction(Op::kSelect, type_of(e.type),
                         {value(e.operands[0]), value(e.operands[1]), value(e.operands[2])});
    case ExprKind::kCast: return emit_cast(e);
    case ExprKind::kBitcast: {
      Id from = value(e.operands[0]), to = type_of(e.type);
      return to == type_of(e.operands[0]->type) ? from : instruction(Op::kBitcast, to, {from});
    }
    case ExprKind::kBroadcast: return emit_broadcast(e);
    case ExprKind::kShuffle: return emit_shuffle(e);
    case ExprKind::kFma:
      return glsl(Glsl::kFma, type_of(e.type),
                  {value(e.operands[0]), value(e.operands[1]), value(e.operands[2])});
    case ExprKind::kDot4: return emit_dot4(e);
    case ExprKind::kCall: return emit_call(e);
    case ExprKind::kUnpackHalf: return glsl(Glsl::kUnpackHalf2x16, type_of(e.type), {value(e.operands[0])});
    case ExprKind::kPackHalf: return glsl(Glsl::kPackHalf2x16, type_of(e.type), {value(e.operands[0])});
    case ExprKind::kSubgroup:
    case ExprKind::kSubgroupXor:
    case ExprKind::kSubgroupBroadcast: return emit_subgroup(e);
    default: fail("no device function has " + kernel::print(e));
  }
}

Id FunctionEmitter::emit_constant(const Expr& e) {
  Type scalar = e.type.with_lanes(1);
  Id id;
  if (scalar.dtype == DType::kBool) {
    id = module_.unique(e.int_value ? Op::kConstantTrue : Op::kConstantFalse, module_.type_bool(), {});
  } else if (scalar.dtype == DType::kF32) {
    id = module_.unique(Op::kConstant, module_.type_float(),
                        {std::bit_cast<uint32_t>(static_cast<float>(e.float_value))});
  } else {
    type_of(scalar);  // refuses other types
    id = module_.constant(static_cast<uint32_t>(e.int_value));
  }
  if (e.type.lanes == 1) return id;
  return module_.unique(Op::kConstantComposite, type_of(e.type),
                        Words(static_cast<size_t>(e.type.lanes), id));
}

Id FunctionEmitter::emit_unary(const Expr& e) {
  Id a = value(e.operands[0]), type = type_of(e.type);
  bool is_f32 = e.type.dtype == DType::kF32;
  switch (e.unary) {
    case UnaryOp::kNeg: return instruction(is_f32 ? Op::kFNegate : Op::kSNegate, type, {a});
    case UnaryOp::kAbs:
      if (e.type.dtype == DType::kU32) return a;
      return glsl(is_f32 ? Glsl::kFAbs : Glsl::kSAbs, type, {a});
    case UnaryOp::kSqrt: return glsl(Glsl::kSqrt, type, {a});
    case UnaryOp::kFloor: return is_f32 ? glsl(Glsl::kFloor, type, {a}) : a;
    case UnaryOp::kRoundEven: return is_f32 ? glsl(Glsl::kRoundEven, type, {a}) : a;
    case UnaryOp::kNot:
      return instruction(e.type.dtype == DType::kBool ? Op::kLogicalNot : Op::kNot, type, {a});
  }
  fail("unknown unary operator");
}

namespace {

// By operator in the order of BinaryOp: for f32, i32, u32 and bool. kLabel stands for "none", kExtInst for
// min and max.
constexpr Op kNone = Op::kLabel;
constexpr Op kBinaryOps[][4] = {
    {Op::kFAdd, Op::kIAdd, Op::kIAdd, kNone},
    {Op::kFSub, Op::kISub, Op::kISub, kNone},
    {Op::kFMul, Op::kIMul, Op::kIMul, kNone},
    {Op::kFDiv, Op::kSDiv, Op::kUDiv, kNone},
    {kNone, Op::kUDiv, Op::kUDiv, kNone},  // kFloorDiv, kMod: operands are not negative
    {kNone, Op::kUMod, Op::kUMod, kNone},
    {Op::kExtInst, Op::kExtInst, Op::kExtInst, kNone},
    {Op::kExtInst, Op::kExtInst, Op::kExtInst, kNone},
    {kNone, Op::kBitwiseAnd, Op::kBitwiseAnd, Op::kLogicalAnd},
    {kNone, Op::kBitwiseOr, Op::kBitwiseOr, Op::kLogicalOr},
    {kNone, Op::kBitwiseXor, Op::kBitwiseXor, Op::kLogicalNotEqual},
    {kNone, Op::kShiftLeftLogical, Op::kShiftLeftLogical, kNone},
    {kNone, Op::kShiftRightArithmetic, Op::kShiftRightLogical, kNone},
    {Op::kFOrdEqual, Op::kIEqual, Op::kIEqual, Op::kLogicalEqual},
    {Op::kFUnordNotEqual, Op::kINotEqual, Op::kINotEqual, Op::kLogicalNotEqual},
    {Op::kFOrdLessThan, Op::kSLessThan, Op::kULessThan, kNone},
    {Op::kFOrdLessThanEqual, Op::kSLessThanEqual, Op::kULessThanEqual, kNone},
    {Op::kFOrdGreaterThan, Op::kSGreaterThan, Op::kUGreaterThan, kNone},
    {Op::kFOrdGreaterThanEqual, Op::kSGreaterThanEqual, Op::kUGreaterThanEqual, kNone},
};

int column(DType type) {
  return type == DType::kF32 ? 0 : type == DType::kI32 ? 1 : type == DType::kU32 ? 2 : 3;
}

}  // namespace

Op FunctionEmitter::binary_op(const Expr& e) const {
  Op op = kBinaryOps[static_cast<int>(e.binary)][column(e.operands[0]->type.dtype)];
  if (op == kNone) fail("no device function has " + kernel::print(e));
  return op;
}

Id FunctionEmitter::emit_binary(const Expr& e) {
  Op op = binary_op(e);
  Id a = value(e.operands[0]), b = value(e.operands[1]), type = type_of(e.type);
  if (op == Op::kExtInst) {
    constexpr Glsl kMin[] = {Glsl::kNMin, Glsl::kSMin, Glsl::kUMin},
                   kMax[] = {Glsl::kNMax, Glsl::kSMax, Glsl::kUMax};
    return glsl((e.binary == BinaryOp::kMin ? kMin : kMax)[column(e.type.dtype)], type, {a, b});
  }
  Id id = instruction(op, type, {a, b});
  if (op == Op::kFAdd || op == Op::kFSub || op == Op::kFMul) module_.decorate(id, Decoration::kNoContraction);
  return id;
}

Id FunctionEmitter::emit_cast(const Expr& e) {
  const Type& from = e.operands[0]->type;
  Id a = value(e.operands[0]), type = type_of(e.type);
  if (type == type_of(from)) return a;
  auto constant = [&](int64_t number, const Type& of) {
    Expr c{.kind = ExprKind::kIntConst, .type = of, .int_value = number};
    c.float_value = static_cast<double>(number);
    return emit_constant(c);
  };
  if (e.type.dtype == DType::kBool)
    return instruction(from.dtype == DType::kF32 ? Op::kFUnordNotEqual : Op::kINotEqual, type,
                       {a, constant(0, from)});
  if (from.dtype == DType::kBool)
    return instruction(Op::kSelect, type, {a, constant(1, e.type), constant(0, e.type)});
  if (e.type.dtype == DType::kF32)
    return instruction(from.dtype == DType::kI32 ? Op::kConvertSToF : Op::kConvertUToF, type, {a});
  return instruction(e.type.dtype == DType::kI32 ? Op::kConvertFToS : Op::kConvertFToU, type, {a});
}

Id FunctionEmitter::emit_broadcast(const Expr& e) {
  const Expr& a = *e.operands[0];
  if (a.kind != ExprKind::kIntConst && a.kind != ExprKind::kFloatConst)
    return splat(e.type, value(e.operands[0]));
  Expr all = a;
  all.type = e.type;
  return emit_constant(all);
}

Id FunctionEmitter::emit_shuffle(const Expr& e) {
  std::vector<std::pair<size_t, int>> lanes;  // operand and lane of each lane of the result
  for (int lane : e.pattern) {
    size_t part = 0;
    for (; lane >= e.operands.at(part)->type.lanes; ++part) lane -= e.operands[part]->type.lanes;
    lanes.push_back({part, lane});
  }
  Words parts;
  bool vectors = true;
  for (const ExprRef& operand : e.operands) {
    parts.push_back(value(operand));
    vectors &= operand->type.lanes > 1;
  }
  auto extract = [&](std::pair<size_t, int> from) {
    if (e.operands[from.first]->type.lanes == 1) return parts[from.first];
    return instruction(Op::kCompositeExtract, type_of(e.type.with_lanes(1)),
                       {parts[from.first], static_cast<uint32_t>(from.second)});
  };
  if (e.type.lanes == 1) return extract(lanes[0]);
  Words operands;
  if (vectors && parts.size() <= 2) {
    operands = {parts.front(), parts.back()};
    for (int lane : e.pattern) operands.push_back(static_cast<uint32_t>(lane));
    return instruction(Op::kVectorShuffle, type_of(e.type), operands);
  }
  for (auto lane : lanes) operands.push_back(extract(lane));
  return instruction(Op::kCompositeConstruct, type_of(e.type), operands);
}

Id FunctionEmitter::emit_dot4(const Expr& e) {
  constexpr uint32_t kPacked4x8Bit = 0;
  bool is_unsigned = e.operands[0]->type.dtype == DType::kU8;
  Words operands;
  for (int i : {1, 0}) {  // SUDot takes its signed factor first
    const Expr& bytes = *e.operands[static_cast<size_t>(i)];
    if (bytes.kind != ExprKind::kBitcast || type_of(bytes.operands[0]->type) != module_.type_int())
      fail("the factors of dot4 are no words");
    operands.push_back(value(bytes.operands[0]));
  }
  operands.push_back(kPacked4x8Bit);
  module_.require_extension("SPV_KHR_integer_dot_product");
  module_.require(Capability::kDotProduct);
  module_.require(Capability::kDotProductInput4x8BitPacked);
  Id type = type_of(e.type);
  Id dot = instruction(is_unsigned ? Op::kSUDotKHR : Op::kSDotKHR, type, operands);
  return instruction(Op::kIAdd, type, {dot, value(e.operands[2])});
}

Id FunctionEmitter::emit_call(const Expr& e) {
  Glsl function;
  switch (e.math) {
    case kernel::MathFn::kExp: function = Glsl::kExp; break;
    case kernel::MathFn::kTanh: function = Glsl::kTanh; break;
    case kernel::MathFn::kLog: function = Glsl::kLog; break;
    case kernel::MathFn::kRsqrt: function = Glsl::kInverseSqrt; break;
    default: fail("SPIR-V has no function for " + kernel::print(e));
  }
  return glsl(function, type_of(e.type), {value(e.operands[0])});
}

Id FunctionEmitter::emit_subgroup(const Expr& e) {
  Id a = value(e.operands[0]), type = type_of(e.type), scope = module_.constant(kScopeSubgroup);
  module_.require(Capability::kGroupNonUniform);
  if (e.kind != ExprKind::kSubgroup) {
    bool exchange = e.kind == ExprKind::kSubgroupXor;
    module_.require(exchange ? Capability::kGroupNonUniformShuffle : Capability::kGroupNonUniformBallot);
    return instruction(exchange ? Op::kGroupNonUniformShuffleXor : Op::kGroupNonUniformBroadcast, type,
                       {scope, a, module_.constant(static_cast<uint32_t>(e.int_value))});
  }
  module_.require(Capability::kGroupNonUniformArithmetic);
  constexpr Op kAdd[] = {Op::kGroupNonUniformFAdd, Op::kGroupNonUniformIAdd, Op::kGroupNonUniformIAdd};
  constexpr Op kMin[] = {Op::kGroupNonUniformFMin, Op::kGroupNonUniformSMin, Op::kGroupNonUniformUMin};
  constexpr Op kMax[] = {Op::kGroupNonUniformFMax, Op::kGroupNonUniformSMax, Op::kGroupNonUniformUMax};
  const Op* ops = e.binary == BinaryOp::kAdd ? kAdd : e.binary == BinaryOp::kMin ? kMin : kMax;
  return instruction(ops[column(e.type.dtype)], type, {scope, kGroupOperationReduce, a});
}

}  // namespace mlc::lang::spirv
