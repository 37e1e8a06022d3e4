// Polynomials for exp, tanh, erf and log. exp, log and tanh follow the reductions and use the coefficients of
// the Cephes library (single precision, Moshier); erf's two polynomials are Chebyshev fits made with
// mpmath.chebyfit.
#include "kernel/passes/expand_math.h"

#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernel/builder.h"
#include "kernel/passes/rewrite.h"

namespace mlc::kernel {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLn2High = 0.693359375, kLn2Low = -2.12194440e-4;  // n * high is exact for |n| < 2^15

ExprRef compare(BinaryOp op, const ExprRef& a, double b) { return binary(op, a, float_const(b)); }
ExprRef like(const ExprRef& a, double value) { return float_const(value, a->type); }

// coefficients[0] * x^n + ... + coefficients[n]
ExprRef polynomial(const ExprRef& x, const std::vector<double>& coefficients) {
  ExprRef sum = like(x, coefficients[0]);
  for (size_t i = 1; i < coefficients.size(); ++i) sum = sum * x + coefficients[i];
  return sum;
}

// 2^n for integer lanes -126..127.
ExprRef power_of_two(const ExprRef& n) {
  return bitcast(binary(BinaryOp::kShl, n + 127, int_const(23)), n->type.with_dtype(DType::kF32));
}

ExprRef expand_exp(const ExprRef& x, const NameValue& name) {
  // Outside of -104..89 the result is 0 or infinity; NaN becomes -104 here and is put back at the end.
  ExprRef inside =
      name("exp_x", binary(BinaryOp::kMin, binary(BinaryOp::kMax, x, like(x, -104)), like(x, 89)));
  ExprRef n = name("exp_n", unary(UnaryOp::kRoundEven, inside * 1.44269504088896341));
  ExprRef r = name("exp_r", (inside - n * kLn2High) - n * kLn2Low);
  ExprRef p = polynomial(r, {1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2,
                             1.6666665459e-1, 5.0000001201e-1});
  ExprRef y = (p * (r * r) + r) + 1.0;
  // 2^n in two factors, each a normal number: n reaches -150 and 128.
  ExprRef whole = name("exp_i", cast(n, DType::kI32));
  ExprRef half = name("exp_half", binary(BinaryOp::kShr, whole, int_const(1)));
  ExprRef result = (y * power_of_two(half)) * power_of_two(whole - half);
  return select(binary(BinaryOp::kEq, x, x), result, x);
}

ExprRef expand_tanh(const ExprRef& x, const NameValue& name) {
  ExprRef magnitude = name("tanh_abs", unary(UnaryOp::kAbs, x));
  ExprRef z = name("tanh_z", x * x);
  ExprRef p = polynomial(
      z, {-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1});
  ExprRef small = p * z * x + x;
  ExprRef e = name("tanh_exp", expand_exp(name("tanh_2x", magnitude * 2.0), name));
  ExprRef large = name("tanh_large", like(x, 1) - like(x, 2) / (e + 1.0));
  ExprRef signed_large = select(compare(BinaryOp::kLt, x, 0), unary(UnaryOp::kNeg, large), large);
  return select(compare(BinaryOp::kLt, magnitude, 0.625), small, signed_large);
}

ExprRef expand_erf(const ExprRef& x, const NameValue& name) {
  ExprRef magnitude = name("erf_abs", unary(UnaryOp::kAbs, x));
  ExprRef z = name("erf_z", x * x);
  ExprRef small = polynomial(z, {7.8758750627e-5, -8.0168642872e-4, 5.1890874234e-3, -2.6854212011e-2,
                                 1.1283594715e-1, -3.7612626667e-1, 1.1283791658}) *
                  x;
  // log(erfc(a)) on 1..4; erf(4) rounds to 1. NaN becomes 4 and is put back at the end.
  ExprRef a = name("erf_a", binary(BinaryOp::kMin, magnitude, like(x, 4)));
  ExprRef log_rest =
      polynomial(a, {-7.3069155525e-8, 3.2570187129e-6, -6.1637467554e-5, 6.8197858131e-4, -5.0507901176e-3,
                     2.7065714612e-2, -1.1100254906e-1, -6.3100397923e-1, -1.1306470911, 4.0966346794e-4});
  ExprRef large = name("erf_large", like(x, 1) - expand_exp(name("erf_log", log_rest), name));
  ExprRef signed_large = select(compare(BinaryOp::kLt, x, 0), unary(UnaryOp::kNeg, large), large);
  ExprRef result = select(compare(BinaryOp::kLt, magnitude, 1), small, signed_large);
  return select(binary(BinaryOp::kEq, x, x), result, x);
}

ExprRef expand_log(const ExprRef& x, const NameValue& name) {
  // Subnormals are scaled by 2^25 first.
  ExprRef tiny = name("log_tiny", compare(BinaryOp::kLt, x, 0x1p-126));
  ExprRef scaled = name("log_x", select(tiny, x * 0x1p25, x));
  Type ints = x->type.with_dtype(DType::kI32);
  ExprRef bits = name("log_bits", bitcast(scaled, ints));
  // scaled = m * 2^e with m in sqrt(1/2)..sqrt(2): 0x3F3504F3 is sqrt(1/2).
  ExprRef offset = name("log_offset", bits - 0x3F3504F3);
  ExprRef exponent = binary(BinaryOp::kShr, offset, int_const(23));
  ExprRef mantissa_bits = binary(BinaryOp::kAnd, offset, int_const(0x7FFFFF)) + 0x3F3504F3;
  ExprRef e = name("log_e", cast(exponent, DType::kF32) - select(tiny, like(x, 25), like(x, 0)));
  ExprRef m = name("log_m", bitcast(mantissa_bits, x->type) - 1.0);
  ExprRef z = name("log_z", m * m);
  ExprRef p =
      polynomial(m, {7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
                     -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1});
  ExprRef y = (p * m * z + e * kLn2Low) - z * 0.5;
  ExprRef result = name("log_y", (m + y) + e * kLn2High);
  result = select(compare(BinaryOp::kEq, x, kInfinity), x, result);
  result = select(compare(BinaryOp::kEq, x, 0), like(x, -kInfinity), result);
  ExprRef defined = compare(BinaryOp::kGe, x, 0);  // false for NaN and negatives
  return select(defined, result, like(x, std::nan("")));
}

}  // namespace

Function expand_math(Function function) {
  return rewrite(std::move(function), [](const ExprRef& e, const NameValue& name) -> ExprRef {
    if (e->kind != ExprKind::kCall) return e;
    ExprRef x = name("math_x", e->operands[0]);
    switch (e->math) {
      case MathFn::kExp: return name("math", expand_exp(x, name));
      case MathFn::kTanh: return name("math", expand_tanh(x, name));
      case MathFn::kErf: return name("math", expand_erf(x, name));
      case MathFn::kLog: return name("math", expand_log(x, name));
      case MathFn::kRsqrt: return like(x, 1) / unary(UnaryOp::kSqrt, x);
      case MathFn::kReciprocal: return like(x, 1) / x;
    }
    internal_error("expand_math: unknown function");
  });
}

}  // namespace mlc::kernel
