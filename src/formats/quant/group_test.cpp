// The fast packing against the plain formulas, bit for bit, over every half value and over scales of every
// size.
#include "formats/quant/group.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/half.h"
#include "formats/quant/kernels.h"
#include "formats/quant/plain.h"

namespace mlc {
namespace {

WeightFormat format(int bits, DType dtype, bool transposed = false) {
  return {WeightFormat::Kind::kGroup, dtype, bits, bits == 3 ? 40 : 32, transposed};
}

std::vector<WeightFormat> all_formats() {
  std::vector<WeightFormat> formats;
  for (int bits : {3, 4})
    for (DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) formats.push_back(format(bits, dtype));
  formats.push_back(format(4, DType::kBF16, true));
  for (int bits : {3, 4, 8}) formats.push_back(WeightFormat::grouped_2023(bits, false));
  return formats;
}

struct Packed {
  std::vector<uint32_t> words;
  std::vector<std::byte> scales;
  friend bool operator==(const Packed&, const Packed&) = default;
};

Packed pack(const WeightFormat& f, std::span<const float> row, bool reference) {
  int64_t k = static_cast<int64_t>(row.size());
  Packed p{std::vector<uint32_t>(static_cast<size_t>(f.row_bytes(k) / 4), 0xFFFFFFFF),
           std::vector<std::byte>(static_cast<size_t>(f.groups(k) * size_of(f.dtype)))};
  (reference ? quantize_row_reference : quantize_row)(f, row, p.words.data(), p.scales.data());
  return p;
}

TEST(GroupQuant, PacksLeastSignificantFirst) {
  std::vector<float> row(32, 0.0f);
  row[0] = 7, row[1] = -7, row[2] = 3, row[8] = -1;
  Packed p = pack(format(4, DType::kF16), row, false);
  EXPECT_EQ(p.words[0], 0x77777A0Eu);
  EXPECT_EQ(p.words[1], 0x77777776u);
  uint16_t scale;
  std::memcpy(&scale, p.scales.data(), 2);
  EXPECT_EQ(scale, 0x3C00);
}

TEST(GroupQuant, ZeroGroupsAndLanesPastTheRowAreZero) {
  for (const WeightFormat& f : all_formats()) {
    if (f.floored) continue;  // below
    std::vector<float> row(static_cast<size_t>(f.group + 3), 0.0f);
    row.back() = 1;
    for (bool reference : {false, true}) {
      Packed p = pack(f, row, reference);
      for (int w = 0; w < 4; ++w) EXPECT_EQ(p.words[static_cast<size_t>(w)], 0u);
      uint32_t middle = static_cast<uint32_t>(f.zero_point());
      EXPECT_EQ(p.words[4], middle | middle << f.bits | 2 * middle << 2 * f.bits);
      EXPECT_EQ(p.words[5] | p.words[6] | p.words[7], 0u);
    }
  }
}

// Scales of 2023 have a floor, so codes of zeros are the zero point; lanes past the row are zero all the
// same.
TEST(GroupQuant, ZeroGroupsOf2023) {
  const uint32_t words[] = {0x36DB36DB, 0x77777777, 0x7F7F7F7F},
                 last[] = {0x1B | 6 << 6, 0x77 | 14 << 8, 0xFE7F7F};
  const float floor = f16_to_f32(f32_to_f16(1e-4f));
  for (int i = 0; i < 3; ++i) {
    const WeightFormat f = WeightFormat::grouped_2023(i == 2 ? 8 : 3 + i, false);
    std::vector<float> row(static_cast<size_t>(f.group + 3), 0.0f);
    row.back() = 1;
    for (bool reference : {false, true}) {
      const Packed p = pack(f, row, reference);
      const size_t whole = static_cast<size_t>(f.row_bytes(f.group) / 4);
      for (size_t w = 0; w < whole; ++w) EXPECT_EQ(p.words[w], words[i]) << f.text();
      EXPECT_EQ(p.words[whole], last[i]) << f.text();
      for (size_t w = whole + 1; w < p.words.size(); ++w) EXPECT_EQ(p.words[w], 0u) << f.text();
      uint16_t scale;
      std::memcpy(&scale, p.scales.data(), 2);
      EXPECT_EQ(scale, f32_to_f16(floor / static_cast<float>(f.zero_point()))) << f.text();
    }
  }
}

// Every half as a weight beside group maxima from the smallest subnormal to the largest finite half.
TEST(GroupQuant, EveryHalfEqualsTheReference) {
  for (const WeightFormat& f : all_formats())
    for (uint16_t top : {0x0001, 0x0003, 0x0004, 0x000B, 0x0210, 0x03FF, 0x0400, 0x0777, 0x1234, 0x2E66,
                         0x3555, 0x3C00, 0x46DB, 0x5A5A, 0x7800, 0x7BFF}) {
      std::vector<float> row;
      for (uint32_t half = 0; half < 0x10000; ++half) {
        if (row.size() % static_cast<size_t>(f.group) == 0) row.push_back(f16_to_f32(top));
        float value = f16_to_f32(static_cast<uint16_t>(half));
        if (std::fabs(value) <= f16_to_f32(top)) row.push_back(value);
      }
      ASSERT_EQ(pack(f, row, false), pack(f, row, true)) << f.text() << " " << top;
    }
}

TEST(GroupQuant, RandomRowsOfAllSizesAndSpecialsEqualTheReference) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const WeightFormat& f : all_formats())
    for (int trial = 0; trial < 400; ++trial) {
      std::vector<float> row(1 + random() % 200);
      float size = std::ldexp(1.0f, static_cast<int>(random() % 40) - 28);
      for (float& v : row) v = normal(random) * size;
      if (trial % 10 == 0)
        row[random() % row.size()] =
            std::bit_cast<float>(static_cast<uint32_t>(random()));  // NaN and infinity among them
      round_floats(f.dtype, row);
      ASSERT_EQ(pack(f, row, false), pack(f, row, true)) << f.text() << " trial " << trial;
    }
}

TEST(GroupQuant, UnpackedValuesAreWithinHalfAScale) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (const WeightFormat& f : all_formats()) {
    std::vector<float> row(333), back(333);
    for (float& v : row) v = normal(random);
    round_floats(f.dtype, row);
    Packed p = pack(f, row, false);
    dequantize_row(f, p.words.data(), p.scales.data(), back);
    for (size_t i = 0; i < row.size(); ++i) {
      size_t begin = i / static_cast<size_t>(f.group) * static_cast<size_t>(f.group);
      float most = 0;
      for (size_t j = begin; j < std::min(row.size(), begin + static_cast<size_t>(f.group)); ++j)
        most = std::max(most, std::fabs(row[j]));
      float scale = most / static_cast<float>(f.zero_point());
      // Half a step, plus max_code steps of the stored scale's rounding (2^-8 relative for bfloat16) on
      // either side.
      EXPECT_LE(std::fabs(back[i] - row[i]), 0.5f * scale + 2 * most * 0x1p-8f) << f.text();
    }
  }
}

// What machines without AVX2 run.
TEST(GroupQuant, GenericKernelsEqualTheChosenOnes) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  std::vector<float> row(4000);
  for (float& v : row) v = normal(random) * std::ldexp(1.0f, static_cast<int>(random() % 30) - 20);
  for (const WeightFormat& f : all_formats()) {
    if (f.container != DType::kU32) continue;  // which kernels know nothing of
    round_floats(f.dtype, row);
    Packed p = pack(f, row, true), q = p;
    generic_quant_kernels().quantize(f, row.data(), static_cast<int64_t>(row.size()) / f.group,
                                     q.words.data(), q.scales.data(), 0);
    EXPECT_EQ(p, q) << f.text();
  }
  for (DType dtype : {DType::kF16, DType::kBF16}) {
    std::vector<std::byte> bytes(8000), generic(8000);
    std::vector<float> values(4000), generic_values(4000), rounded = row, generic_rounded = row;
    encode_floats(dtype, row, bytes.data());
    generic_quant_kernels().encode(dtype, row.data(), generic.data(), 500);
    decode_floats(dtype, bytes.data(), values);
    generic_quant_kernels().decode(dtype, bytes.data(), generic_values.data(), 500);
    round_floats(dtype, rounded);
    generic_quant_kernels().round(dtype, generic_rounded.data(), 500);
    EXPECT_EQ(bytes, generic);
    EXPECT_EQ(values, generic_values);
    EXPECT_EQ(rounded, generic_rounded);
  }
}

TEST(GroupQuant, Q4_0BlocksKeepTheirValues) {
  std::mt19937 random(3);
  std::vector<std::byte> blocks(18 * 50);
  for (std::byte& b : blocks) b = static_cast<std::byte>(random());
  for (size_t i = 0; i < 50; ++i) {
    uint16_t d = f32_to_f16(0.01f * static_cast<float>(i) - 0.2f);
    std::memcpy(blocks.data() + 18 * i, &d, 2);
  }
  std::vector<uint32_t> words(200);
  std::vector<std::byte> scales(100);
  repack_q4_0_row(blocks, words.data(), scales.data());
  for (size_t i = 0; i < 1600; ++i) {
    const std::byte* block = blocks.data() + i / 32 * 18;
    uint16_t d;
    std::memcpy(&d, block, 2);
    int nibble = static_cast<int>(block[2 + i % 16]) >> (i % 32 < 16 ? 0 : 4) & 15;
    uint16_t scale;
    std::memcpy(&scale, scales.data() + i / 32 * 2, 2);
    int code = static_cast<int>(words[i / 8] >> (i % 8 * 4) & 15);
    ASSERT_EQ(static_cast<float>(code - 7) * f16_to_f32(scale),
              static_cast<float>(nibble - 8) * f16_to_f32(d));
  }
}

TEST(GroupQuant, Q8_0BlocksKeepTheirValues) {
  std::mt19937 random(3);
  std::vector<std::byte> blocks(34 * 50);
  for (std::byte& b : blocks) b = static_cast<std::byte>(random());
  for (size_t i = 0; i < 50; ++i) {
    uint16_t d = f32_to_f16(0.01f * static_cast<float>(i) - 0.2f);
    std::memcpy(blocks.data() + 34 * i, &d, 2);
    for (size_t j = 2; i != 7 && j < 34; ++j)
      if (blocks[34 * i + j] == std::byte{0x80}) blocks[34 * i + j] = std::byte{0x81};
  }
  blocks[34 * 7 + 5] = std::byte{0x80};  // -128: no code stands for it
  std::vector<uint32_t> words(400);
  std::vector<std::byte> scales(100);
  repack_q8_0_row(blocks, words.data(), scales.data());
  for (size_t i = 0; i < 1600; ++i) {
    uint16_t d, scale;
    std::memcpy(&d, &blocks[i / 32 * 34], 2);
    std::memcpy(&scale, &scales[i / 32 * 2], 2);
    const int q = static_cast<int8_t>(blocks[i / 32 * 34 + 2 + i % 32]);
    const int code = static_cast<int>(words[i / 4] >> (i % 4 * 8) & 255);
    ASSERT_LE(code, 254);
    const float value = static_cast<float>(code - 127) * f16_to_f32(scale),
                expected = static_cast<float>(q) * f16_to_f32(d);
    if (i / 32 != 7)
      ASSERT_EQ(value, expected) << i;
    else
      ASSERT_NEAR(value, expected, 0.6 * std::fabs(f16_to_f32(scale))) << i;
  }
}

// 2^17 + 3 patterns spread over all f32 bit patterns, and every f16 and bf16, against base/half.h.
TEST(PlainFloats, CastsEqualTheScalarOnes) {
  std::vector<float> values;
  for (uint64_t bits = 0; bits < 0x100000000; bits += 32749)
    values.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  for (uint32_t half = 0; half < 0x10000; ++half)
    for (int nudge : {-1, 0, 1})  // exact halves, and just off the ties between them
      values.push_back(std::bit_cast<float>(std::bit_cast<uint32_t>(f16_to_f32(static_cast<uint16_t>(half))) +
                                            0x1000 + static_cast<uint32_t>(nudge)));
  for (DType dtype : {DType::kF16, DType::kBF16}) {
    std::vector<std::byte> bytes(2 * values.size());
    encode_floats(dtype, values, bytes.data());
    std::vector<float> decoded(values.size()), rounded = values;
    decode_floats(dtype, bytes.data(), decoded);
    round_floats(dtype, rounded);
    for (size_t i = 0; i < values.size(); ++i) {
      uint16_t half, expected = dtype == DType::kF16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
      std::memcpy(&half, bytes.data() + 2 * i, 2);
      ASSERT_EQ(half, expected) << std::hexfloat << values[i];
      float back = dtype == DType::kF16 ? f16_to_f32(half) : bf16_to_f32(half);
      ASSERT_EQ(std::bit_cast<uint32_t>(decoded[i]), std::bit_cast<uint32_t>(back)) << half;
      ASSERT_EQ(std::bit_cast<uint32_t>(rounded[i]), std::bit_cast<uint32_t>(back)) << half;
    }
  }
}

}  // namespace
}  // namespace mlc
