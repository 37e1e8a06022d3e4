// Replaces math functions by arithmetic on f32, the same on every target (no fma is used), so that a library
// needs no libm. Errors against the exact value, over all finite inputs (expand_math_test.cpp samples them):
//   exp 2 ulp, tanh 3 ulp, erf 3 ulp, log 2 ulp, rsqrt 2 ulp (sqrt then divide), reciprocal exactly rounded.
// Infinities and NaN give what libm gives; results below 2^-126 are rounded once more and stay within 1
// subnormal step.
//
//   before:  %y[%i] = exp(%x[%i]:f32x8)
//   after:   let %n = round_even((%clamped * 1.442695:f32x8)) ... %y[%i] = select(...)
#pragma once

#include "kernel/ir.h"

namespace mlc::kernel {

Function expand_math(Function function);

}  // namespace mlc::kernel
