// Group quantization (mlc-facts 3.2 with the rounding of golden/README.md): reference pack and unpack, exact
// to the bit.
//
// Layout of a [rows, k] weight, group g (32 or 40), b bits (4, 8 or 3), G = ceil(k / g):
//   1. words  u32[rows, 4*G] (8*G of 8 bits): word w of a row holds elements w*c .. w*c + c - 1, c = 32 / b;
//   element i at bits [i*b, i*b + b)
//   2. scales [rows, G] in the scheme's scale dtype
//   KN form: both arrays transposed. Unused bits and lanes past k are 0; so are all codes and the scale of a
//   zero group.
// Pack, with m = 2^(b-1) - 1 and every step in the model's dtype (the dtype of the scales), ties to even:
//   float16:  s = f16(max|w| / m); t = f16(w / s); u = f16(t + m); code = clamp(round(u), 0, 2m)
//   float32:  s = max|w| / m; the same in f32; the file keeps s as bfloat16, the codes use it unrounded
//   bfloat16: s = bf16(max|w| / m), but unrounded for codes in KN form (so the original computes it); t = w /
//   s and
//             u = t + m in f32
// Unpack: w = (code - m) * s, rounded once to the model's dtype.
//
// As 2023 had it (mlc-facts 3.12): s = f16(max(max|w|, f16(1e-4)) / m), so that a zero group has codes m and
// a scale. 3-bit codes then lie five in a u16, element i at bits [3i, 3i + 3), eight words a group.
//
// The paired form (q4f32_0 of 2023, mlc-facts 3.12) has instead of a scale a u32 of two bfloat16: s = (max -
// min) / 15 in the low half, min in the high one; code = clamp(round((w - min) / s), 0, 15) with both
// unrounded, all in f32; w = code * s + min.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/quant/scheme.h"

namespace mlc {

// Packs one row of weights. `row` holds k values already rounded to the scale dtype; `words` gets
// format.row_bytes(k) bytes, `scales` format.groups(k) scales in the scale dtype, or pairs. NK form even
// where format.transposed says KN. A NaN gets code 0.
void quantize_row(const WeightFormat& format, std::span<const float> row, uint32_t* words, std::byte* scales);

// The same by the plain formulas above, for tests.
void quantize_row_reference(const WeightFormat& format, std::span<const float> row, uint32_t* words,
                            std::byte* scales);

// Unpacks one row in NK form: row.size() = k values, each rounded to the scale dtype.
void dequantize_row(const WeightFormat& format, const uint32_t* words, const std::byte* scales,
                    std::span<float> row);

// A row of GGUF Q4_0 blocks (18 bytes: f16 d, 16 bytes of nibbles; value d * (q - 8)) as a row of q4g32.f16,
// without any loss: scale = -d, code = 15 - q, so (code - 7) * scale = (8 - q) * -d.
void repack_q4_0_row(std::span<const std::byte> blocks, uint32_t* words, std::byte* scales);

// A row of GGUF Q8_0 blocks (34 bytes: f16 d, 32 i8 q; value d * q) as a row of q8g32.f16: code = q + 127,
// scale = d, without any loss but for blocks with q = -128, which no writer of llama.cpp makes: those are
// quantized anew.
void repack_q8_0_row(std::span<const std::byte> blocks, uint32_t* words, std::byte* scales);

}  // namespace mlc
