// An 8-bit float's bits are moved into those of an f32 and its exponent's bias added. Where the exponent is
// 0, 1 is taken for it, and the one before the point that comes with that is taken away again.
#include "kernel/lower/float8.h"

#include <cmath>

#include "base/check.h"

namespace mlc::kernel {

ExprRef float8_numbers(KernelBuilder& k, WeightFormat::Code code, const ExprRef& codes) {
  const bool e4m3 = code == WeightFormat::Code::kE4M3;
  internal_check(e4m3 || code == WeightFormat::Code::kE5M2, "no 8-bit floats");
  const int fraction_bits = e4m3 ? 3 : 2, bias = e4m3 ? 7 : 15, lanes = codes->type.lanes;
  const Type words{DType::kU32, lanes}, ints{DType::kI32, lanes}, floats{DType::kF32, lanes};
  ExprRef all = k.let("code", codes);
  ExprRef magnitude = k.let("magnitude", binary(BinaryOp::kAnd, all, int_const(0x7F)));
  // 1 below the first normal number: the sign of the difference.
  ExprRef small = k.let("small", binary(BinaryOp::kShr, magnitude - (1 << fraction_bits), int_const(31)));
  ExprRef moved = binary(BinaryOp::kShl, magnitude, int_const(23 - fraction_bits));
  ExprRef exponent = binary(BinaryOp::kShl, small + (127 - bias), int_const(23));
  ExprRef taken = cast(bitcast(small, ints), DType::kF32) * std::ldexp(1.0, 1 - bias);
  ExprRef number = bitcast(bitcast(moved + exponent, floats) - taken, words);
  ExprRef sign = binary(BinaryOp::kShl, binary(BinaryOp::kAnd, all, int_const(0x80)), int_const(24));
  return bitcast(binary(BinaryOp::kOr, number, sign), floats);
}

}  // namespace mlc::kernel
