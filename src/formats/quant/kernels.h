// The inner loops of formats/quant, one table for each instruction set.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "formats/quant/scheme.h"

namespace mlc {

constexpr int64_t kWordsOfGroup = 4;  // u32, of 3 and 4 bits; of 8 bits twice as many
constexpr float kScaleFloor = 1e-4f;  // least largest magnitude of a group in 2023 (mlc-facts 3.12)

// The scale of a group as its codes see it; store_scale() rounds it to what the file keeps.
inline float scale_for_codes(const WeightFormat& format, float max_abs) {
  if (format.floored && max_abs < kScaleFloor) max_abs = f16_to_f32(f32_to_f16(kScaleFloor));
  float scale = max_abs / static_cast<float>(format.zero_point());
  if (format.dtype == DType::kF16) return f16_to_f32(f32_to_f16(scale));
  if (format.dtype == DType::kBF16 && !format.transposed) return bf16_to_f32(f32_to_bf16(scale));
  return scale;
}

inline void store_scale(DType dtype, float scale, std::byte* scales, int64_t index) {
  if (dtype == DType::kF32) {
    std::memcpy(scales + 4 * index, &scale, 4);
    return;
  }
  uint16_t half = dtype == DType::kF16 ? f32_to_f16(scale) : f32_to_bf16(scale);
  std::memcpy(scales + 2 * index, &half, 2);
}

struct QuantKernels {
  // Casts of 8 * eights elements; dtype is f16 or bf16 (plain.h).
  void (*decode)(DType dtype, const std::byte* bytes, float* values, size_t eights);
  void (*encode)(DType dtype, const float* values, std::byte* bytes, size_t eights);
  void (*round)(DType dtype, float* values, size_t eights);
  // Packs `groups` whole groups (group.h); their scales are scales[first] and on.
  void (*quantize)(const WeightFormat& format, const float* weights, int64_t groups, uint32_t* words,
                   std::byte* scales, int64_t first);
};

// The best table this machine can run.
const QuantKernels& quant_kernels();
const QuantKernels& generic_quant_kernels();
// nullptr where the instruction set is not there.
const QuantKernels* avx2_quant_kernels();

}  // namespace mlc
