// Weights as 8-bit floats: how their scales are chosen and their codes rounded (mlc-facts 3.9, 3.10).
//
//   e4m3, one scale a tensor: s = max(f16(max|w| / 448), f16(1 / (448 * 512))), code = e4m3(w / s) in f32;
//   the
//         file keeps s as bfloat16, the codes use it unrounded
//   e5m2, no scale: code = e5m2(w)
//   e4m3, a scale a block: s = bf16(max|w| / 448), 1 for a block of zeros; code = e4m3(w / s)
// Ties go to even; what is larger than the largest number becomes that; a NaN stays one.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "formats/quant/format.h"

namespace mlc {

// The scale that codes are made with, of a tensor or a block with this largest magnitude.
float float8_scale(const WeightFormat& format, float max_abs);

// codes[i] = values[i] / scale, one byte each. `format` is of 8-bit floats.
void encode_float8(const WeightFormat& format, float scale, std::span<const float> values, std::byte* codes);

// Whether codes of `from` and their scales are those of `to`, a format of 8-bit floats with a scale a block.
bool has_same_blocks(const WeightFormat& from, const WeightFormat& to);

// The largest finite magnitude.
float largest_magnitude(std::span<const float> values);

// The records of a weight [n, k] (format_records(); scales as the file keeps them, in 4 bytes; the scale of
// inputs is 1).
std::vector<std::vector<std::byte>> pack_float8(const WeightFormat& format, int64_t n, int64_t k,
                                                std::span<const float> values);

}  // namespace mlc
