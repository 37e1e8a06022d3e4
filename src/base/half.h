// Conversions between float and the 16-bit floats, bit-exact with IEEE 754 round-to-nearest-even.
#pragma once

#include <bit>
#include <cstdint>

namespace mlc {

// float -> binary16, ties to even; overflow gives infinity, NaN stays NaN (quiet).
constexpr uint16_t f32_to_f16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t sign = (bits >> 16) & 0x8000u;
  bits &= 0x7FFFFFFFu;
  if (bits >= 0x7F800000u) return static_cast<uint16_t>(sign | 0x7C00u | (bits > 0x7F800000u ? 0x200u : 0));
  if (bits >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);  // rounds to 65520 or more
  if (bits < 0x38800000u) {                                               // below 2^-14: subnormal half
    if (bits < 0x33000000u) return static_cast<uint16_t>(sign);           // below 2^-25
    uint32_t exponent = bits >> 23;
    uint32_t mantissa = (bits & 0x7FFFFFu) | 0x800000u;
    uint32_t shift = 126 - exponent;  // 14..24: mantissa * 2^(exponent-150) in units of 2^-24
    uint32_t half = mantissa >> shift;
    uint32_t rest = mantissa & ((1u << shift) - 1), tie = 1u << (shift - 1);
    if (rest > tie || (rest == tie && (half & 1))) ++half;
    return static_cast<uint16_t>(sign | half);
  }
  bits += 0xFFFu + ((bits >> 13) & 1);
  return static_cast<uint16_t>(sign | ((bits - 0x38000000u) >> 13));
}

constexpr float f16_to_f32(uint16_t half) {
  uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  uint32_t exponent = (half >> 10) & 31, mantissa = half & 0x3FFu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  if (exponent == 0) {
    float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

// float -> bfloat16, ties to even; values past the largest finite bfloat16, infinities and NaNs are
// truncated, as the MLC writer does (mlc-facts 2.3).
constexpr uint16_t f32_to_bf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) >= 0x7F7F0000u) return static_cast<uint16_t>(bits >> 16);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1)) >> 16);
}

constexpr float bf16_to_f32(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

}  // namespace mlc
