// Group quantization: eight lanes at a time by compiler vectors, and the same by plain formulas as the
// reference.
#include "formats/quant/group.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/half.h"
#include "formats/quant/kernels.h"

namespace mlc {
namespace {

constexpr int kMaxGroup = 40;

float load_scale(DType dtype, const std::byte* scales, int64_t index) {
  if (dtype == DType::kF32) {
    float scale;
    std::memcpy(&scale, scales + 4 * index, 4);
    return scale;
  }
  uint16_t half;
  std::memcpy(&half, scales + 2 * index, 2);
  return dtype == DType::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
}

// Clears the codes of a group from element `used` on.
void clear_lanes(const WeightFormat& format, int used, uint32_t* words) {
  for (int i = used; i < format.group; ++i) {
    int word = i / format.codes_per_word(), lane = i % format.codes_per_word();
    words[word] &= ~(((1u << format.bits) - 1) << (lane * format.bits));
  }
}

// Words of ten 3-bit codes become pairs of u16 of five.
void split_words(uint32_t* words, int64_t count) {
  constexpr uint32_t kFive = 0x7FFF;
  for (int64_t i = 0; i < count; ++i) words[i] = (words[i] & kFive) | (words[i] >> 15 & kFive) << 16;
}

void store_code(const WeightFormat& format, uint32_t code, int64_t index, uint32_t* words) {
  const int64_t word = index / format.codes_per_word(), shift = index % format.codes_per_word() * format.bits;
  const bool half = format.container == DType::kU16;
  words[half ? word / 2 : word] |= code << (half ? word % 2 * 16 + shift : shift);
}

uint32_t reference_code(const WeightFormat& format, float w, float scale) {
  auto rounded = [&](float x) { return format.dtype == DType::kF16 ? f16_to_f32(f32_to_f16(x)) : x; };
  float max_code = static_cast<float>(format.zero_point());
  float u = rounded(rounded(w / scale) + max_code);
  if (std::isnan(u)) return 0;
  return static_cast<uint32_t>(std::clamp(std::nearbyint(u), 0.0f, 2 * max_code));
}

void quantize_pairs(const WeightFormat& format, std::span<const float> row, uint32_t* words,
                    std::byte* pairs) {
  const auto size = static_cast<size_t>(format.group);
  const float top = static_cast<float>((1 << format.bits) - 1);
  for (size_t begin = 0; begin < row.size(); begin += size, words += kWordsOfGroup, pairs += 4) {
    std::span<const float> group = row.subspan(begin, std::min(size, row.size() - begin));
    const auto [low, high] = std::minmax_element(group.begin(), group.end());
    const float min = *low, scale = (*high - min) / top;
    const uint32_t pair = f32_to_bf16(scale) | uint32_t{f32_to_bf16(min)} << 16;
    std::memcpy(pairs, &pair, 4);
    std::fill_n(words, kWordsOfGroup, 0u);
    for (size_t i = 0; i < group.size(); ++i) {
      const float u = (group[i] - min) / scale;  // NaN where all are equal
      const auto code = std::isnan(u) ? 0 : static_cast<uint32_t>(std::clamp(std::nearbyint(u), 0.0f, top));
      words[i / 8] |= code << (i % 8 * 4);
    }
  }
}

}  // namespace

void quantize_row(const WeightFormat& format, std::span<const float> row, uint32_t* words,
                  std::byte* scales) {
  internal_check(format.is_quantized() && !format.is_imported(), "quantize_row needs a format that we pack");
  if (format.zero == WeightFormat::Zero::kPaired) return quantize_pairs(format, row, words, scales);
  if (format.container == DType::kU16) {
    WeightFormat wide = format;
    wide.container = DType::kU32;
    quantize_row(wide, row, words, scales);
    return split_words(words, wide.words(static_cast<int64_t>(row.size())));
  }
  int64_t k = static_cast<int64_t>(row.size()), whole = k / format.group;
  quant_kernels().quantize(format, row.data(), whole, words, scales, 0);
  int rest = static_cast<int>(k % format.group);
  if (rest == 0) return;
  float padded[kMaxGroup] = {};
  std::copy_n(row.data() + whole * format.group, rest, padded);
  uint32_t* last = words + whole * format.words(format.group);
  quant_kernels().quantize(format, padded, 1, last, scales, whole);
  clear_lanes(format, rest, last);
}

void quantize_row_reference(const WeightFormat& format, std::span<const float> row, uint32_t* words,
                            std::byte* scales) {
  int64_t k = static_cast<int64_t>(row.size());
  std::fill_n(words, format.row_bytes(k) / 4, 0u);
  for (int64_t g = 0; g < format.groups(k); ++g) {
    int64_t begin = g * format.group, end = std::min(k, begin + format.group);
    float max_abs = 0;
    for (int64_t i = begin; i < end; ++i) {
      float magnitude = std::fabs(row[static_cast<size_t>(i)]);
      if (std::isnan(magnitude) || magnitude > max_abs) max_abs = magnitude;  // once NaN, max_abs stays NaN
    }
    float scale = scale_for_codes(format, max_abs);
    store_scale(format.dtype, scale, scales, g);
    for (int64_t i = begin; i < end; ++i)
      store_code(format, reference_code(format, row[static_cast<size_t>(i)], scale), i, words);
  }
}

void dequantize_row(const WeightFormat& format, const uint32_t* words, const std::byte* scales,
                    std::span<float> row) {
  const uint32_t mask = (1u << format.bits) - 1;
  const int per_word = format.codes_per_word();
  const bool half = format.container == DType::kU16;
  float scale = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    int64_t index = static_cast<int64_t>(i);
    if (index % format.group == 0) scale = load_scale(format.dtype, scales, index / format.group);
    const int64_t word = index / per_word, shift = index % per_word * format.bits;
    uint32_t code = (words[half ? word / 2 : word] >> (half ? word % 2 * 16 + shift : shift)) & mask;
    float value = static_cast<float>(static_cast<int>(code) - format.zero_point()) * scale;
    if (format.dtype == DType::kF16) value = f16_to_f32(f32_to_f16(value));
    if (format.dtype == DType::kBF16) value = bf16_to_f32(f32_to_bf16(value));
    row[i] = value;
  }
}

void repack_q4_0_row(std::span<const std::byte> blocks, uint32_t* words, std::byte* scales) {
  // A block: a half scale, then 16 bytes of codes 0..15 (low nibbles), 16..31 (high nibbles). As eight u16
  // lanes, a lane holds the codes of one output byte in its two low nibbles, and those of another in its two
  // high ones.
  typedef uint16_t Lanes __attribute__((vector_size(16)));
  typedef uint8_t Bytes __attribute__((vector_size(8)));
  constexpr size_t kBlockBytes = 18;
  for (size_t block = 0; block < blocks.size() / kBlockBytes; ++block) {
    const std::byte* from = blocks.data() + block * kBlockBytes;
    uint16_t d;
    Lanes codes;
    std::memcpy(&d, from, 2);
    std::memcpy(&codes, from + 2, 16);
    d ^= 0x8000;
    std::memcpy(scales + 2 * block, &d, 2);
    codes = ~codes;  // 15 - q is ~q in four bits
    Bytes low = __builtin_convertvector((codes & 0x000F) | ((codes >> 4) & 0x00F0), Bytes);
    Bytes high = __builtin_convertvector(((codes >> 4) & 0x000F) | ((codes >> 8) & 0x00F0), Bytes);
    std::memcpy(words + 4 * block, &low, 8);
    std::memcpy(words + 4 * block + 2, &high, 8);
  }
}

void repack_q8_0_row(std::span<const std::byte> blocks, uint32_t* words, std::byte* scales) {
  constexpr size_t kCodes = 32, kBlockBytes = 2 + kCodes, kWords = kCodes / 4;
  static const WeightFormat to = WeightFormat::grouped_2023(8, false);
  for (size_t block = 0; block < blocks.size() / kBlockBytes; ++block) {
    const std::byte* from = blocks.data() + block * kBlockBytes;
    uint8_t codes[kCodes];
    std::memcpy(scales + 2 * block, from, 2);
    std::memcpy(codes, from + 2, kCodes);
    bool lowest = false;
    for (uint8_t& code : codes) lowest |= code == 0x80, code = static_cast<uint8_t>(code + 127);
    std::memcpy(words + kWords * block, codes, kCodes);
    if (!lowest) continue;
    uint16_t d;
    float values[kCodes];
    std::memcpy(&d, from, 2);
    for (size_t i = 0; i < kCodes; ++i)  // products of 11 and 8 bits
      values[i] = f16_to_f32(
          f32_to_f16(f16_to_f32(d) * static_cast<float>(int{codes[i]} - (codes[i] == 255 ? 383 : 127))));
    quantize_row(to, values, words + kWords * block, scales + 2 * block);
  }
}

}  // namespace mlc
