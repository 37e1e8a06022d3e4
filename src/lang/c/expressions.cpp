// Expressions of the C family.
#include <algorithm>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/print.h"
#include "lang/c/emitter.h"

namespace mlc::lang {

using kernel::BinaryOp;
using kernel::BufferRef;
using kernel::Expr;
using kernel::ExprKind;
using kernel::ExprRef;
using kernel::Type;
using kernel::UnaryOp;

namespace {

bool is_leaf(const Expr& e) {
  return e.kind == ExprKind::kIntConst || e.kind == ExprKind::kFloatConst || e.kind == ExprKind::kVar ||
         e.kind == ExprKind::kDim;
}

// Division of a device function has no negative operand: C's rounds as kFloorDiv does.
const char* c_operator(BinaryOp op) { return op == BinaryOp::kFloorDiv ? "/" : kernel::infix_text(op); }

}  // namespace

std::string CEmitter::value(const ExprRef& e) {
  internal_check(e != nullptr, "kernel IR: an expression is missing");
  if (auto found = memo_.find(e.get()); found != memo_.end()) return found->second;
  std::string text = text_of(*e);
  if (uses_[e.get()] > 1 && !is_leaf(*e)) text = memo_[e.get()] = temporary(e->type, text);
  return text;
}

std::string CEmitter::atom(const ExprRef& e) {
  if (is_leaf(*e)) return value(e);
  if (auto found = memo_.find(e.get()); found != memo_.end()) return found->second;
  uses_[e.get()] = 2;
  return value(e);
}

std::string CEmitter::temporary(const Type& type, const std::string& text) {
  std::string name = str("t", temporaries_++);
  line(d_.declaration(type, name, text) + ";");
  return name;
}

std::string CEmitter::text_of(const Expr& e) {
  auto operand = [&](size_t i) { return value(e.operands[i]); };
  switch (e.kind) {
    case ExprKind::kIntConst:
    case ExprKind::kFloatConst: return constant(e);
    case ExprKind::kVar: return variable_name(e.name);
    case ExprKind::kDim: return dim_name(e.name);
    case ExprKind::kLoad: return element(e.buffer, e.operands[0]);
    case ExprKind::kUnary: return unary(e);
    case ExprKind::kBinary: return binary(e);
    case ExprKind::kSelect: {
      std::string condition = operand(0), a = operand(1), b = operand(2);
      return d_.select(e.type, condition, a, b);
    }
    case ExprKind::kCast: return d_.cast(e.operands[0]->type, e.type, operand(0));
    case ExprKind::kBitcast: return d_.bitcast(e.operands[0]->type, e.type, operand(0));
    case ExprKind::kBroadcast: return e.type.lanes == 1 ? operand(0) : d_.broadcast(e.type, operand(0));
    case ExprKind::kShuffle: return shuffle(e);
    case ExprKind::kFma: {
      std::string a = operand(0), b = operand(1), c = operand(2);
      return str("fma(", a, ", ", b, ", ", c, ")");
    }
    case ExprKind::kDot4: return dot4(e);
    case ExprKind::kCall: return d_.call(e.math, operand(0));
    case ExprKind::kUnpackHalf: return d_.unpack_half(operand(0));
    case ExprKind::kPackHalf: return d_.pack_half(operand(0));
    case ExprKind::kSubgroup: return d_.subgroup(e.binary, e.type, atom(e.operands[0]));
    case ExprKind::kSubgroupXor: return d_.subgroup_xor(e.type, atom(e.operands[0]), e.int_value);
    case ExprKind::kSubgroupBroadcast: return d_.subgroup_broadcast(e.type, atom(e.operands[0]), e.int_value);
    default: internal_error(str("kernel ", kernel_.name, ": no device function has ", kernel::print(e)));
  }
}

std::string CEmitter::constant(const Expr& e) {
  bool number = is_float(e.type.dtype);
  double value = e.kind == ExprKind::kIntConst ? static_cast<double>(e.int_value) : e.float_value;
  std::string one = number ? d_.float_constant(value) : d_.int_constant(e.int_value, e.type.dtype);
  return e.type.lanes == 1 ? one : d_.broadcast(e.type, one);
}

std::string CEmitter::element(const BufferRef& buffer, const ExprRef& index) {
  return d_.element(*buffer, buffer_name(*buffer), value(index));
}

std::string CEmitter::unary(const Expr& e) {
  std::string a = value(e.operands[0]);
  if (e.unary == UnaryOp::kNeg) return "(-" + a + ")";
  if (e.unary == UnaryOp::kNot) return str(e.type == Type{DType::kBool, 1} ? "(!" : "(~", a, ")");
  bool unchanged = e.unary == UnaryOp::kAbs ? is_unsigned_int(e.type.dtype) : !is_float(e.type.dtype);
  return unchanged ? a : d_.call(e.unary, e.type, a);
}

std::string CEmitter::binary(const Expr& e) {
  const Type& type = e.operands[0]->type;
  std::string a = value(e.operands[0]), b = value(e.operands[1]);
  if (e.binary >= BinaryOp::kEq) return d_.compare(c_operator(e.binary), type, a, b);
  if (e.binary == BinaryOp::kMin || e.binary == BinaryOp::kMax) return d_.min_max(e.binary, type, a, b);
  bool may_overflow = e.binary == BinaryOp::kAdd || e.binary == BinaryOp::kSub || e.binary == BinaryOp::kMul;
  if (may_overflow && is_bits(e)) {  // C gives signed overflow no meaning
    Type bits = type.with_dtype(DType::kU32);
    return d_.bitcast(
        bits, type,
        str("(", d_.bitcast(type, bits, a), " ", c_operator(e.binary), " ", d_.bitcast(type, bits, b), ")"));
  }
  return d_.binary(e.binary, c_operator(e.binary), type, a, b);
}

// Signed integers that were a float's bits.
bool CEmitter::is_bits(const Expr& e) const {
  if (e.type.dtype != DType::kI32 || e.kind == ExprKind::kLoad || e.kind == ExprKind::kCast) return false;
  if (e.kind == ExprKind::kVar) return bits_.contains(e.name);
  if (e.kind == ExprKind::kBitcast) return true;
  return std::any_of(e.operands.begin(), e.operands.end(), [&](const ExprRef& o) { return is_bits(*o); });
}

// Its operands are bitcasts of words.
std::string CEmitter::dot4(const Expr& e) {
  std::string words[2];
  for (size_t i = 0; i < 2; ++i) {
    internal_check(e.operands[i]->kind == ExprKind::kBitcast,
                   "a dot4 of a device function takes bitcast words");
    words[i] = value(e.operands[i]->operands[0]);
  }
  std::string sum = value(e.operands[2]);
  return d_.dot4(e.operands[0]->type.dtype == DType::kU8, words[0], words[1], sum);
}

std::string CEmitter::shuffle(const Expr& e) {
  if (e.operands.size() == 1 && e.operands[0]->type.lanes > 1 && e.pattern.size() > 1)
    return d_.swizzle(e.operands[0]->type, value(e.operands[0]), e.pattern);
  std::vector<std::string> lanes;
  for (int lane : e.pattern) {
    size_t which = 0;
    while (lane >= e.operands[which]->type.lanes) lane -= e.operands[which++]->type.lanes;
    const ExprRef& from = e.operands[which];
    lanes.push_back(from->type.lanes == 1 ? value(from) : d_.lane(from->type, atom(from), lane));
  }
  return lanes.size() == 1 ? lanes[0] : d_.vector(e.type, lanes);
}

}  // namespace mlc::lang
