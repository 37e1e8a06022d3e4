// Scales and codes of 8-bit floats.
#include "formats/quant/float8.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/half.h"

namespace mlc {
namespace {

constexpr float kLargestE4M3 = 448;

// How an 8-bit float lies in an f32's bits.
struct Layout {
  int fraction_bits;
  uint32_t rebias;        // from the exponents of f32 to its own
  uint32_t first_normal;  // the smallest normal number, as f32
  float magic;            // what gives a smaller number's code in its last bits
  uint32_t largest, nan;  // codes
};
// e4m3: bias 7; 1.75 * 2^8 = 448 is 0x7E. e5m2: bias 15; 1.75 * 2^15 = 57344 is 0x7B. A subnormal unit of
// 2^(1 - bias - fraction_bits) is the last bit of 2^23 units.
constexpr Layout kE4M3{3, 127 - 7, uint32_t{127 - 6} << 23, 0x1p14f, 0x7E, 0x7F};
constexpr Layout kE5M2{2, 127 - 15, uint32_t{127 - 14} << 23, 0x1p7f, 0x7B, 0x7F};

uint8_t encode(const Layout& layout, float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 24 & 0x80, magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<uint8_t>(sign | layout.nan);
  if (magnitude < layout.first_normal) {
    const float moved = std::bit_cast<float>(magnitude) + layout.magic;
    return static_cast<uint8_t>(sign |
                                (std::bit_cast<uint32_t>(moved) - std::bit_cast<uint32_t>(layout.magic)));
  }
  const int shift = 23 - layout.fraction_bits;
  const uint32_t rounded = magnitude + ((1u << (shift - 1)) - 1) + (magnitude >> shift & 1);
  const uint32_t code = (rounded >> shift) - (layout.rebias << layout.fraction_bits);
  return static_cast<uint8_t>(sign | std::min(code, layout.largest));
}

float rounded_to_half(float value) { return f16_to_f32(f32_to_f16(value)); }

}  // namespace

float float8_scale(const WeightFormat& format, float max_abs) {
  if (format.scale_code == WeightFormat::ScaleCode::kNone) return 1;
  if (format.group_n == 0)
    return std::max(rounded_to_half(max_abs / kLargestE4M3), rounded_to_half(1 / (kLargestE4M3 * 512)));
  const float scale = bf16_to_f32(f32_to_bf16(max_abs / kLargestE4M3));
  return scale > 0 ? scale : 1;
}

void encode_float8(const WeightFormat& format, float scale, std::span<const float> values, std::byte* codes) {
  internal_check(format.is_float8(), "encode_float8 needs a format of 8-bit floats");
  const Layout layout = format.code == WeightFormat::Code::kE4M3 ? kE4M3 : kE5M2;
  for (size_t i = 0; i < values.size(); ++i) codes[i] = std::byte{encode(layout, values[i] / scale)};
}

bool has_same_blocks(const WeightFormat& from, const WeightFormat& to) {
  return from.code == to.code && from.group == to.group && from.group_n == to.group_n &&
         from.zero == WeightFormat::Zero::kNone && from.scale_code == WeightFormat::ScaleCode::kFloat &&
         from.container == to.container && !from.permuted && !from.blocks;
}

float largest_magnitude(std::span<const float> values) {
  float largest = 0;
  for (float v : values)
    if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
  return largest;
}

std::vector<std::vector<std::byte>> pack_float8(const WeightFormat& format, int64_t n, int64_t k,
                                                std::span<const float> values) {
  const int64_t groups = format.groups(k), lines = format.scale_rows(n);
  const int64_t width = format.group ? format.group : k, height = format.group_n ? format.group_n : n;
  std::vector<std::byte> codes(static_cast<size_t>(n * k)),
      scales(static_cast<size_t>(lines * groups) * sizeof(float));
  for (int64_t line = 0; line < lines; ++line)
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t first = line * height, last = std::min(n, first + height), begin = g * width,
                    count = std::min(k, begin + width) - begin;
      auto part = [&](int64_t row) {
        return values.subspan(static_cast<size_t>(row * k + begin), static_cast<size_t>(count));
      };
      float largest = 0;
      for (int64_t row = first; row < last; ++row) largest = std::max(largest, largest_magnitude(part(row)));
      const float scale = float8_scale(format, largest), kept = bf16_to_f32(f32_to_bf16(scale));
      for (int64_t row = first; row < last; ++row)
        encode_float8(format, scale, part(row), codes.data() + row * k + begin);
      std::memcpy(scales.data() + (line * groups + g) * 4, &kept, sizeof(kept));
    }
  std::vector<std::vector<std::byte>> records{std::move(codes)};
  if (format.scale_code != WeightFormat::ScaleCode::kNone) records.push_back(std::move(scales));
  if (format.input_scale) {
    const float one = 1;
    records.emplace_back(sizeof(one));
    std::memcpy(records.back().data(), &one, sizeof(one));
  }
  return records;
}

}  // namespace mlc
