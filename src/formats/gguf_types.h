// The tensor types of GGUF that we read, the bytes of their blocks, and their values as f32.
//
// A type packs `block_elements` consecutive elements of a row into `block_bytes`. d, m: f16 scale and offset;
// element i:
//   1. F32 F16 BF16 F64 I8 I16 I32 I64: plain, one element a block
//   2. Q4_0 {d, 16 B}: d*(q-8); byte j holds elements j (low nibble) and j+16 (high); Q4_1 {d, m, 16 B}:
//   d*q+m
//   3. Q5_0 {d, u32 h, 16 B}: as Q4 with bit i of h as the fifth bit, d*(q-16); Q5_1 {d, m, u32 h, 16 B}:
//   d*q+m
//   4. Q8_0 {d, 32 x i8}: d*q
//   5. IQ4_NL {d, 16 B}: d*table[q], nibbles as Q4
//   6. Q2_K {16 B: scale | offset << 4 per 16, 64 B, d, m}: d*scale*q - m*offset
//   7. Q3_K {32 B high bits, 64 B, 12 B of 6-bit scales, d}: d*(scale-32)*(q - (high bit ? 0 : 4))
//   8. Q4_K {d, m, 12 B of 6-bit scales and offsets per 32, 128 B}: d*scale*q - m*offset
//   9. Q5_K {d, m, 12 B as Q4_K, 32 B fifth bits, 128 B}: same
//  10. Q6_K {128 B low, 64 B high 2 bits, 16 x i8 scale, d}: d*scale*(q-32)
//  11. IQ4_XS {d, u16 high 2 bits and 4 B low nibbles of 6-bit scales per 32, 128 B}: d*(scale-32)*table[q],
//  nibbles as Q4 in each 32
//  12. MXFP4 {e, 16 B}: 2^(e-127) * FP4 value, nibbles as Q4
// Source: the ggml project's block structures; checked to the bit against the Python package `gguf`
// (tests/data/formats/make_gguf_quants.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/dtype.h"

namespace mlc {

// Values are those of the file format.
enum class GgufType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kI8 = 24,
  kI16 = 25,
  kI32 = 26,
  kI64 = 27,
  kF64 = 28,
  kBF16 = 30,
  kMXFP4 = 39,
};

struct GgufTypeInfo {
  GgufType type;
  std::string_view name;
  uint32_t block_elements;
  uint32_t block_bytes;
  std::optional<DType> plain;  // the element type when blocks hold one plain element
};

// nullptr when we do not read type `id`.
const GgufTypeInfo* find_gguf_type(uint32_t id);
const GgufTypeInfo& gguf_type_info(GgufType type);
// The name of type `id` if the format defines it, read by us or not; "type 99" otherwise.
std::string gguf_type_name(uint32_t id);
// The names of all types we read, separated by spaces.
std::string gguf_known_types();

// values[i] = element i as f32. blocks.size() must be whole blocks holding exactly values.size() elements,
// and the type must be a float or block type. Arithmetic is f32, each product and sum rounded once, in the
// order of the table above.
void dequantize_gguf(GgufType type, std::span<const std::byte> blocks, std::span<float> values);

}  // namespace mlc
