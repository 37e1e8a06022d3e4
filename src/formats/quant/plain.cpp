// Casts between float dtypes, eight lanes at a time; the scalar forms in base/half.h are the reference.
#include "formats/quant/plain.h"

#include <cstring>

#include "base/check.h"
#include "base/half.h"
#include "formats/quant/kernels.h"

namespace mlc {

void decode_floats(DType dtype, const std::byte* bytes, std::span<float> values) {
  size_t n = values.size();
  if (dtype == DType::kF32) {
    if (n > 0) std::memcpy(values.data(), bytes, 4 * n);
    return;
  }
  if (dtype == DType::kF64) {
    for (size_t i = 0; i < n; ++i) {
      double value;
      std::memcpy(&value, bytes + 8 * i, 8);
      values[i] = static_cast<float>(value);
    }
    return;
  }
  internal_check(dtype == DType::kF16 || dtype == DType::kBF16, "decode_floats needs f16, bf16, f32 or f64");
  size_t eights = n / 8;
  quant_kernels().decode(dtype, bytes, values.data(), eights);
  for (size_t i = 8 * eights; i < n; ++i) {
    uint16_t half;
    std::memcpy(&half, bytes + 2 * i, 2);
    values[i] = dtype == DType::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
  }
}

void encode_floats(DType dtype, std::span<const float> values, std::byte* bytes) {
  size_t n = values.size();
  if (dtype == DType::kF32) {
    if (n > 0) std::memcpy(bytes, values.data(), 4 * n);
    return;
  }
  internal_check(dtype == DType::kF16 || dtype == DType::kBF16, "encode_floats needs f16, bf16 or f32");
  size_t eights = n / 8;
  quant_kernels().encode(dtype, values.data(), bytes, eights);
  for (size_t i = 8 * eights; i < n; ++i) {
    uint16_t half = dtype == DType::kF16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    std::memcpy(bytes + 2 * i, &half, 2);
  }
}

void round_floats(DType dtype, std::span<float> values) {
  if (dtype == DType::kF32) return;
  internal_check(dtype == DType::kF16 || dtype == DType::kBF16, "round_floats needs f16, bf16 or f32");
  size_t eights = values.size() / 8;
  quant_kernels().round(dtype, values.data(), eights);
  for (float& value : values.subspan(8 * eights))
    value = dtype == DType::kF16 ? f16_to_f32(f32_to_f16(value)) : bf16_to_f32(f32_to_bf16(value));
}

}  // namespace mlc
