// Descriptions of weight formats: their texts, their records, and the reader by them.
#include "formats/quant/format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "base/half.h"
#include "base/strings.h"
#include "formats/quant/group.h"
#include "formats/quant/plain.h"
#include "formats/quant/reader.h"
#include "formats/quant/scheme.h"

namespace mlc {
namespace {

using Records = std::vector<std::vector<std::byte>>;

std::vector<float> read(const WeightFormat& format, int64_t n, int64_t k, const Records& records) {
  std::vector<std::span<const std::byte>> spans(records.begin(), records.end());
  std::vector<float> values(static_cast<size_t>(n * k));
  read_weight(format, n, k, spans, values);
  return values;
}

// n rows packed, in the order of the file.
Records pack(const WeightFormat& format, int64_t n, int64_t k, const std::vector<float>& values) {
  const auto words = static_cast<size_t>(format.words(k)), groups = static_cast<size_t>(format.groups(k));
  const size_t size =
      format.zero == WeightFormat::Zero::kPaired ? 4 : static_cast<size_t>(size_of(format.dtype));
  const auto item = static_cast<size_t>(size_of(format.container));
  std::vector<uint32_t> row_words(words * item / 4);
  std::vector<std::byte> row_scales(groups * size);
  Records out{std::vector<std::byte>(item * words * static_cast<size_t>(n)),
              std::vector<std::byte>(groups * size * static_cast<size_t>(n))};
  for (int64_t r = 0; r < n; ++r) {
    quantize_row(format, {values.data() + r * k, static_cast<size_t>(k)}, row_words.data(),
                 row_scales.data());
    const auto row = static_cast<size_t>(r), rows = static_cast<size_t>(n);
    for (size_t w = 0; w < words; ++w)
      std::memcpy(&out[0][item * (format.transposed ? w * rows + row : row * words + w)],
                  reinterpret_cast<const std::byte*>(row_words.data()) + item * w, item);
    for (size_t g = 0; g < groups; ++g)
      std::memcpy(&out[1][size * (format.transposed ? g * rows + row : row * groups + g)],
                  &row_scales[g * size], size);
  }
  return out;
}

std::vector<float> waves(int64_t count, DType dtype) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(std::sin(0.7f * static_cast<float>(i)) + 0.25f);
  round_floats(dtype, values);
  return values;
}

TEST(WeightFormats, EveryDescriptionIsItsOwn) {
  std::set<std::string> texts, names;
  for (const DescribedFormat& d : described_formats()) {
    EXPECT_TRUE(texts.insert(d.format.text()).second) << d.name << " " << d.format.text();
    EXPECT_TRUE(names.insert(d.name).second) << d.name;
    EXPECT_EQ(WeightFormat::parse(d.format.text()), d.format) << d.name;
  }
  EXPECT_EQ(WeightFormat::awq().text(), "q4g128.f16.kn.along_n.awq.codes");
  EXPECT_EQ(WeightFormat::paired(true).text(), "q4g32.f32.kn.paired");
  EXPECT_EQ(WeightFormat::parse("q5g32.f16"), std::nullopt);
}

TEST(WeightFormats, EverySchemeIsOfBuiltFormats) {
  for (const QuantScheme& scheme : quant_schemes()) {
    bool built = false;
    for (const DescribedFormat& d : described_formats()) built |= d.built && d.format == scheme.linear;
    EXPECT_TRUE(built) << scheme.name;
  }
  EXPECT_EQ(find_quant_scheme("q4f16_awq")->name, "q4f16_autoawq");
}

TEST(WeightFormats, Records) {
  auto text = [](const WeightFormat& format, std::vector<int64_t> shape) {
    std::string out;
    for (const FormatRecord& r : format_records(format, shape)) {
      out += str(r.name, " ", short_name(r.dtype));
      for (int64_t d : r.shape) out += str(" ", d);
      out += "; ";
    }
    return out;
  };
  EXPECT_EQ(text(WeightFormat::plain(DType::kF16), {7}), "weight f16 7; ");
  EXPECT_EQ(text(WeightFormat::grouped(4, DType::kF16, false), {6, 65}),
            "q_weight u32 6 12; q_scale f16 6 3; ");
  EXPECT_EQ(text(WeightFormat::grouped(3, DType::kBF16, true), {6, 41}),
            "q_weight u32 8 6; q_scale bf16 2 6; ");
  EXPECT_EQ(text(WeightFormat::grouped(4, DType::kF16, false), {3, 6, 64}),
            "q_weight u32 3 6 8; q_scale f16 3 6 2; ");
  EXPECT_EQ(text(WeightFormat::awq(), {16, 256}), "qweight u32 256 2; qzeros u32 2 2; scales f16 2 16; ");
  EXPECT_EQ(text(WeightFormat::paired(true), {6, 64}), "q_weight u32 8 6; q_scale u32 2 6; ");
  const WeightFormat e4m3 = WeightFormat::float8(WeightFormat::Code::kE4M3);
  EXPECT_EQ(text(e4m3, {6, 65}), "q_weight f8e4m3 6 65; q_scale f32 1; ");
  EXPECT_EQ(text(e4m3, {3, 6, 65}), "q_weight f8e4m3 3 6 65; q_scale f32 1; ");
  EXPECT_EQ(text(WeightFormat::float8(WeightFormat::Code::kE4M3, true), {6, 65}),
            "q_weight f8e4m3 6 65; q_scale f32 1; q_calibration_scale f32 1; ");
  EXPECT_EQ(text(WeightFormat::float8(WeightFormat::Code::kE5M2), {6, 65}), "q_weight f8e5m2 6 65; ");
  EXPECT_EQ(text(WeightFormat::float8_blocks(), {130, 257}),
            "weight f8e4m3 130 257; weight_scale_inv f32 2 3; ");
}

// By the description alone what the packing's own inverse gives.
TEST(WeightFormats, ReaderAgreesWithUnpacking) {
  constexpr int64_t kRows = 5, kColumns = 70;
  for (const DescribedFormat& d : described_formats()) {
    const WeightFormat& f = d.format;
    if (!d.built || !f.is_quantized() || f.is_imported() || !f.is_centered()) continue;
    const std::vector<float> values = waves(kRows * kColumns, f.dtype);
    const std::vector<float> got = read(f, kRows, kColumns, pack(f, kRows, kColumns, values));
    for (int64_t r = 0; r < kRows; ++r) {
      std::vector<uint32_t> words(static_cast<size_t>(f.row_bytes(kColumns) / 4));
      std::vector<std::byte> scales(static_cast<size_t>(f.groups(kColumns) * size_of(f.dtype)));
      std::vector<float> row(values.begin() + r * kColumns, values.begin() + (r + 1) * kColumns);
      quantize_row(f, row, words.data(), scales.data());
      dequantize_row(f, words.data(), scales.data(), row);
      std::vector<float> rounded(got.begin() + r * kColumns, got.begin() + (r + 1) * kColumns);
      round_floats(f.dtype, rounded);
      EXPECT_EQ(rounded, row) << d.name << " row " << r;
    }
  }
}

// mlc-facts 3.12, in double.
TEST(WeightFormats, PairsAreScaleAndMinimum) {
  const std::vector<float> values = waves(2 * 64, DType::kF32);
  for (bool transposed : {false, true}) {
    const WeightFormat f = WeightFormat::paired(transposed);
    const std::vector<float> got = read(f, 2, 64, pack(f, 2, 64, values));
    for (size_t g = 0; g < 4; ++g) {
      float low = INFINITY, high = -INFINITY;
      for (size_t i = 32 * g; i < 32 * g + 32; ++i)
        low = std::min(low, values[i]), high = std::max(high, values[i]);
      const float scale = (high - low) / 15;
      for (size_t i = 32 * g; i < 32 * g + 32; ++i) {
        const double code = std::clamp(std::nearbyint((values[i] - low) / scale), 0.0f, 15.0f);
        const double expected =
            code * bf16_to_f32(f32_to_bf16(scale)) + double{bf16_to_f32(f32_to_bf16(low))};
        EXPECT_EQ(got[i], static_cast<float>(expected)) << i;
      }
    }
  }
  const std::vector<float> flat(32, 3.0f);
  EXPECT_EQ(read(WeightFormat::paired(false), 1, 32, pack(WeightFormat::paired(false), 1, 32, flat)), flat);
}

// mlc-facts 3.7: nibble j of a word has row (0, 2, 4, 6, 1, 3, 5, 7)[j].
TEST(WeightFormats, AwqCodesLieInItsOrder) {
  constexpr int kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};
  constexpr int64_t kN = 8, kK = 256;
  std::vector<uint32_t> words(kK), zeros(2);
  std::vector<uint16_t> scales;
  for (uint32_t k = 0; k < kK; ++k)
    for (uint32_t j = 0; j < 8; ++j) words[k] |= ((k + 3 * static_cast<uint32_t>(kOrder[j])) % 16) << (4 * j);
  for (uint32_t g = 0; g < 2; ++g)
    for (uint32_t j = 0; j < 8; ++j) zeros[g] |= (static_cast<uint32_t>(kOrder[j]) + 5 * g) << (4 * j);
  for (int i = 0; i < 16; ++i) scales.push_back(f32_to_f16(0.5f + static_cast<float>(i)));
  Records records(3);
  auto set = [&](size_t i, const auto& values) {
    const auto bytes = std::as_bytes(std::span(values));
    records[i].assign(bytes.begin(), bytes.end());
  };
  set(0, words), set(1, zeros), set(2, scales);
  const std::vector<float> got = read(WeightFormat::awq(), kN, kK, records);
  for (int64_t n = 0; n < kN; ++n)
    for (int64_t k = 0; k < kK; ++k) {
      const int64_t g = k / 128;
      const float expected =
          static_cast<float>((k + 3 * n) % 16 - (n + 5 * g)) * (0.5f + static_cast<float>(g * 8 + n));
      ASSERT_EQ(got[static_cast<size_t>(n * kK + k)], expected) << n << " " << k;
    }
}

}  // namespace
}  // namespace mlc
