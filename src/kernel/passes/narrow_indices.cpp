// i64 becomes i32.
#include "kernel/passes/narrow_indices.h"

#include <bit>
#include <limits>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/builder.h"
#include "kernel/passes/rewrite.h"

namespace mlc::kernel {
namespace {

// x // 2^n and x % 2^n: kShr and kAnd round down like them, for negative x too.
ExprRef without_division(const ExprRef& e) {
  if (e->kind != ExprKind::kBinary || e->operands[1]->kind != ExprKind::kIntConst) return e;
  const ExprRef& divisor = e->operands[1];
  auto value = static_cast<uint64_t>(divisor->int_value);
  if (divisor->int_value <= 0 || !std::has_single_bit(value)) return e;
  if (e->binary == BinaryOp::kFloorDiv)
    return binary(BinaryOp::kShr, e->operands[0], int_const(std::countr_zero(value), divisor->type));
  if (e->binary == BinaryOp::kMod)
    return binary(BinaryOp::kAnd, e->operands[0], int_const(divisor->int_value - 1, divisor->type));
  return e;
}

ExprRef narrow(const ExprRef& e, const std::string& kernel) {
  if (e->kind == ExprKind::kCast && e->type == e->operands[0]->type) return e->operands[0];
  if (e->type.dtype != DType::kI64) return e;
  if (e->kind == ExprKind::kCast && e->operands[0]->type.dtype == DType::kI32) return e->operands[0];
  if (e->kind == ExprKind::kIntConst)
    internal_check(e->int_value >= std::numeric_limits<int32_t>::min() &&
                       e->int_value <= std::numeric_limits<int32_t>::max(),
                   "kernel ", kernel, ": an index of ", e->int_value, " on a device of 32-bit indices");
  auto copy = std::make_shared<Expr>(*e);
  copy->type.dtype = DType::kI32;
  return copy;
}

}  // namespace

Function narrow_indices(Function function) {
  if (thread_count(function) == 0) return function;
  std::string name = function.name;
  return rewrite(std::move(function),
                 [&](const ExprRef& e, const NameValue&) { return without_division(narrow(e, name)); });
}

}  // namespace mlc::kernel
