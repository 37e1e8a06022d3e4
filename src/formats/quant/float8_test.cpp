// 8-bit floats against a search among all of their numbers.
#include "formats/quant/float8.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "formats/quant/reader.h"

namespace mlc {
namespace {

using Code = WeightFormat::Code;

// By the definition: sign, exponent, fraction.
double number(Code format, int code) {
  const int fraction_bits = format == Code::kE4M3 ? 3 : 2, bias = format == Code::kE4M3 ? 7 : 15;
  const int exponent = code >> fraction_bits & ((1 << (7 - fraction_bits)) - 1);
  const double fraction = (code & ((1 << fraction_bits) - 1)) / std::ldexp(1, fraction_bits);
  const double value = exponent ? std::ldexp(1 + fraction, exponent - bias) : std::ldexp(fraction, 1 - bias);
  return code & 0x80 ? -value : value;
}

// The nearest, of two the even one; the largest for all beyond.
int nearest(Code format, double value) {
  const int largest = format == Code::kE4M3 ? 0x7E : 0x7B;
  const double magnitude = std::min(std::fabs(value), number(format, largest));
  int best = 0;
  for (int code = 1; code <= largest; ++code) {
    const double is = std::fabs(magnitude - number(format, code)),
                 was = std::fabs(magnitude - number(format, best));
    if (is < was || (is == was && code % 2 == 0)) best = code;
  }
  return best | (std::signbit(value) ? 0x80 : 0);
}

class Float8 : public ::testing::TestWithParam<Code> {};

TEST_P(Float8, EveryHalfGoesToTheNearest) {
  const WeightFormat f = WeightFormat::float8(GetParam());
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = f16_to_f32(static_cast<uint16_t>(bits));
    std::byte code;
    encode_float8(f, 1, {&value, 1}, &code);
    if (std::isnan(value)) {
      EXPECT_EQ(static_cast<int>(code) & 0x7F, 0x7F);
    } else {
      ASSERT_EQ(static_cast<int>(code), nearest(GetParam(), value)) << value;
    }
  }
}

TEST_P(Float8, ReaderHasTheirNumbers) {
  const WeightFormat f = WeightFormat::float8(GetParam());
  std::vector<std::byte> codes;
  for (int code = 0; code < 256; ++code) codes.push_back(static_cast<std::byte>(code));
  const float half = 0.5f;
  std::vector<std::span<const std::byte>> records{codes};
  if (GetParam() == Code::kE4M3) records.push_back(std::as_bytes(std::span(&half, 1)));
  std::vector<float> values(256);
  read_weight(f, 4, 64, records, values);
  for (int code = 0; code < 256; ++code) {
    if ((code & 0x7F) > (GetParam() == Code::kE4M3 ? 0x7E : 0x7B)) continue;
    EXPECT_EQ(values[static_cast<size_t>(code)],
              static_cast<float>(number(GetParam(), code) * (records.size() > 1 ? 0.5 : 1)))
        << code;
  }
}

INSTANTIATE_TEST_SUITE_P(Codes, Float8, ::testing::Values(Code::kE4M3, Code::kE5M2),
                         [](const auto& info) { return info.param == Code::kE4M3 ? "e4m3" : "e5m2"; });

TEST(Float8Scales, FollowTheLargestMagnitude) {
  const WeightFormat tensor = WeightFormat::float8(Code::kE4M3), blocks = WeightFormat::float8_blocks();
  EXPECT_EQ(float8_scale(tensor, 896), 2);
  EXPECT_EQ(float8_scale(tensor, 1), f16_to_f32(f32_to_f16(1.0f / 448)));  // in halves
  EXPECT_EQ(float8_scale(tensor, 0), f16_to_f32(f32_to_f16(1 / (448 * 512.0f))));
  EXPECT_EQ(float8_scale(WeightFormat::float8(Code::kE5M2), 896), 1);
  EXPECT_EQ(float8_scale(blocks, 1), bf16_to_f32(f32_to_bf16(1.0f / 448)));
  EXPECT_EQ(float8_scale(blocks, 0), 1);
}

TEST(Float8Scales, OneForEachBlockOf128By128) {
  constexpr int64_t kN = 130, kK = 200;
  const WeightFormat f = WeightFormat::float8_blocks();
  std::vector<float> values;
  for (int64_t i = 0; i < kN * kK; ++i)
    values.push_back(std::sin(0.3f * static_cast<float>(i)) *
                     static_cast<float>(1 + i / kK / 128 + 2 * (i % kK / 128)));
  const auto records = pack_float8(f, kN, kK, values);
  ASSERT_EQ(records.size(), 2u);
  ASSERT_EQ(records[1].size(), 16u);
  float scales[4], largest[4] = {};
  std::memcpy(scales, records[1].data(), 16);
  auto block = [](int64_t i) { return static_cast<size_t>(i / kK / 128 * 2 + i % kK / 128); };
  for (int64_t i = 0; i < kN * kK; ++i)
    largest[block(i)] = std::max(largest[block(i)], std::fabs(values[static_cast<size_t>(i)]));
  for (size_t b = 0; b < 4; ++b) EXPECT_EQ(scales[b], bf16_to_f32(f32_to_bf16(largest[b] / 448))) << b;
  for (int64_t i = 0; i < kN * kK; i += 7)
    ASSERT_EQ(static_cast<int>(records[0][static_cast<size_t>(i)]),
              nearest(Code::kE4M3, values[static_cast<size_t>(i)] / scales[block(i)]))
        << i;
}

}  // namespace
}  // namespace mlc
