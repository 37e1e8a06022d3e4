// The exponential of a softmax, for attention.
#pragma once

#include "kernel/lower/cpu/context.h"

namespace mlc::kernel {

// exp(change) for a softmax, change <= 80, with 0 below exp(-80) = 2e-35: what is smaller changes no sum, and
// arithmetic on the subnormal numbers below exp(-87) is a hundred times slower on many CPUs. Exact for 0,
// else 2e-7 + 9e-8 |change| off relatively; NaN stays NaN.
ExprRef softmax_weight(CpuLowering& low, const ExprRef& change);

// The softmax's denominator with a sink: `total` is the sum of exp(score - largest). A sink 80 above all
// scores leaves them nothing either way.
ExprRef add_sink(CpuLowering& low, const ExprRef& total, const ExprRef& largest, const ExprRef& sink);

}  // namespace mlc::kernel
