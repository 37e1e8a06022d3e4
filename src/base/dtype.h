// Element types of tensors and buffers: their names (NumPy's), sizes and classes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mlc {

enum class DType : uint8_t {
  kBool,
  kI8,
  kI16,
  kI32,
  kI64,
  kU8,
  kU16,
  kU32,
  kU64,
  kF16,
  kBF16,
  kF32,
  kF64,
  kF8E4M3,
  kF8E5M2,
};

// Bytes of one element.
constexpr int size_of(DType t) {
  switch (t) {
    case DType::kBool:
    case DType::kI8:
    case DType::kU8:
    case DType::kF8E4M3:
    case DType::kF8E5M2: return 1;
    case DType::kI16:
    case DType::kU16:
    case DType::kF16:
    case DType::kBF16: return 2;
    case DType::kI32:
    case DType::kU32:
    case DType::kF32: return 4;
    case DType::kI64:
    case DType::kU64:
    case DType::kF64: return 8;
  }
  return 0;
}

constexpr bool is_float(DType t) { return t >= DType::kF16; }
constexpr bool is_signed_int(DType t) { return t >= DType::kI8 && t <= DType::kI64; }
constexpr bool is_unsigned_int(DType t) { return t >= DType::kU8 && t <= DType::kU64; }
constexpr bool is_int(DType t) { return is_signed_int(t) || is_unsigned_int(t); }

// The name in MLC's files: "float16", "bfloat16", "uint32", "float8_e4m3fn", ...
std::string_view long_name(DType t);
// The name in our IR text: "f16", "bf16", "u32", "f8e4m3", ...
std::string_view short_name(DType t);
// Accepts either spelling.
std::optional<DType> parse_dtype(std::string_view name);

}  // namespace mlc
