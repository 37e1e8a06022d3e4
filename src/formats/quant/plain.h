// Plain (unquantized) elements: casts between the float dtypes, exact to the bit (ties to even; f32 -> bf16
// as base/half.h says). Bytes are little-endian and need no alignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace mlc {

// values[i] = element i of `bytes` (values.size() elements of a float dtype: f16, bf16, f32, f64).
void decode_floats(DType dtype, const std::byte* bytes, std::span<float> values);

// The inverse: each value rounded to `dtype` (f16, bf16 or f32) and stored.
void encode_floats(DType dtype, std::span<const float> values, std::byte* bytes);

// Rounds values in place to f16, bf16 or f32 (no change) precision.
void round_floats(DType dtype, std::span<float> values);

}  // namespace mlc
