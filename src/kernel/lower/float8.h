// Codes that are 8-bit floats, as kernels compute with them.
#pragma once

#include "formats/quant/format.h"
#include "kernel/builder.h"

namespace mlc::kernel {

// The numbers that u32 codes 0 .. 255 stand for, as f32, lane by lane. Exact on devices that flush subnormal
// numbers too. Codes without a number (NaN, infinities) give what the next exponent would: no quantizer of
// ours makes them but of a weight that is no number itself.
ExprRef float8_numbers(KernelBuilder& k, WeightFormat::Code code, const ExprRef& codes);

}  // namespace mlc::kernel
