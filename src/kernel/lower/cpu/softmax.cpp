// exp by a polynomial.
#include "kernel/lower/cpu/softmax.h"

namespace mlc::kernel {

ExprRef softmax_weight(CpuLowering& low, const ExprRef& change) {
  // 2^y for y = change / ln 2 = n + f: adding 1.5 * 2^23 rounds y to n in the low bits of the sum, which go
  // to the exponent. 2^f = 1 + f (c1 + .. + c5 f^4) on -1/2..1/2 is a minimax fit (Lawson's
  // iteration), 9.2e-8 off relatively.
  constexpr double kLog2E = 1.44269504088896341, kRound = 0x1.8p23;
  constexpr double kFit[] = {0.001326472731307149, 0.009671512991189957, 0.05550733581185341,
                             0.24022242426872253,  0.6931470036506653,   1};
  KernelBuilder& k = low.k;
  auto all = [&](double value) { return float_const(value, change->type); };
  ExprRef rounded = k.let("rounded", fma(change, all(kLog2E), all(kRound)));
  ExprRef f = k.let("fraction", fma(change, all(kLog2E), all(kRound) - rounded));
  ExprRef fit = all(kFit[0]);
  for (size_t i = 1; i < std::size(kFit); ++i) fit = fma(fit, f, all(kFit[i]));
  const Type ints = change->type.with_dtype(DType::kI32);
  ExprRef exponent = binary(BinaryOp::kShl, bitcast(rounded, ints), int_const(23));
  ExprRef power = bitcast(exponent + bitcast(all(1), ints), change->type);
  return select(binary(BinaryOp::kLt, change, float_const(-80)), all(0), fit * power);
}

ExprRef add_sink(CpuLowering& low, const ExprRef& total, const ExprRef& largest, const ExprRef& sink) {
  ExprRef over = low.k.let("over", binary(BinaryOp::kMin, sink - largest, float_const(80)));
  return total + softmax_weight(low, over);
}

}  // namespace mlc::kernel
