// The numbers of --verify on distributions small enough for paper, however the vocabulary is cut; the
// report's file, table and picture.
#include "weights/verify.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>

#include "support/temp_folder.h"
#include "weights/picture.h"

namespace mlc::weights {
namespace {

// Two rows of three logits each, added in blocks of so many tokens.
Result<std::vector<VerifyPosition>> compare(const std::vector<float>& a, const std::vector<float>& b,
                                            int64_t block) {
  LogitComparison comparison({0, 1});
  for (int64_t begin = 0; begin < 3; begin += block) {
    const int64_t count = std::min<int64_t>(block, 3 - begin);
    std::vector<float> x, y;
    for (int64_t row = 0; row < 2; ++row)
      for (int64_t i = begin; i < begin + count; ++i)
        x.push_back(a[size_t(row * 3 + i)]), y.push_back(b[size_t(row * 3 + i)]);
    comparison.add(2, begin, count, x.data(), y.data());
  }
  return comparison.finish("A", "B");
}

TEST(LogitComparison, KnownDistributions) {
  // p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4): KL = 1/2 log 2 - 1/4 log 2. Logits may carry any constant.
  const float half = std::log(0.5f), quarter = std::log(0.25f);
  const std::vector<float> p = {half + 3, quarter + 3, quarter + 3, half + 3, quarter + 3, quarter + 3};
  const std::vector<float> q = {quarter, half, quarter, half + 3, quarter + 3, quarter + 3};
  for (int64_t block : {1, 2, 3}) {
    auto positions = compare(p, q, block);
    ASSERT_TRUE(positions.is_ok());
    EXPECT_EQ((*positions)[1].kl_divergence, 0) << "the same row has none at all";
    const VerifyReport r = make_verify_report("t", *positions);
    EXPECT_EQ(r.positions, 2);
    EXPECT_NEAR(r.kl_divergence, 0.25 * std::log(2.0) / 2, 1e-7) << block;
    EXPECT_NEAR(r.kl_divergence_max, 0.25 * std::log(2.0), 1e-7);
    EXPECT_EQ(r.top1_agreement, 0.5);
    EXPECT_NEAR(r.perplexity_source, std::sqrt(2.0 * 4.0), 1e-5);
    EXPECT_NEAR(r.perplexity_converted, std::sqrt(4.0 * 4.0), 1e-5);
  }
}

TEST(LogitComparison, LogitsThatGrowFromBlockToBlock) {
  const std::vector<float> rising = {-900, 0, 900, 900, 0, -900}, flat = {1, 1, 1, 1, 1, 1};
  for (int64_t block : {1, 3}) {
    auto positions = compare(rising, flat, block);
    ASSERT_TRUE(positions.is_ok());
    for (const VerifyPosition& p : *positions) EXPECT_NEAR(p.kl_divergence, std::log(3.0), 1e-12);
    EXPECT_NEAR((*positions)[0].loss_source, 1800, 1e-9);
    EXPECT_FALSE((*positions)[0].same_top);
    EXPECT_TRUE((*positions)[1].same_top);
  }
}

TEST(LogitComparison, NamesTheModelWhoseLogitsAreNotFinite) {
  const std::vector<float> fine(6, 1);
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    std::vector<float> broken = fine;
    broken[4] = bad;
    for (int64_t block : {1, 3}) {
      EXPECT_EQ(compare(fine, broken, block).status().message().substr(0, 2), "B:");
      const std::string error = compare(broken, fine, block).status().message();
      EXPECT_EQ(error.substr(0, 2), "A:");
      EXPECT_NE(error.find("position 1"), std::string::npos) << error;
    }
  }
}

TEST(VerifyReport, RoundTripsThroughItsFile) {
  testing::TempFolder temp;
  const std::string& folder = temp.path();
  EXPECT_FALSE(read_verify_report(folder)->has_value());
  VerifyReport r{.text = "t",
                 .positions = 7,
                 .kl_divergence = 0.25,
                 .kl_divergence_max = 1,
                 .top1_agreement = 0.5,
                 .perplexity_source = 8,
                 .perplexity_converted = 9.5,
                 .activations = "float32"};
  ASSERT_TRUE(write_verify_report(folder, r).is_ok());
  auto back = read_verify_report(folder);
  ASSERT_TRUE(back.is_ok() && back->has_value());
  EXPECT_EQ((*back)->kl_divergence, 0.25);
  EXPECT_EQ((*back)->perplexity_converted, 9.5);
  EXPECT_NE(verify_text(**back).find("50.00%"), std::string::npos);
  EXPECT_EQ(verify_table(**back), "") << "positions are not stored";
}

VerifyReport sixteen_positions() {
  std::vector<VerifyPosition> positions;
  for (int i = 0; i < 16; ++i) positions.push_back({i / 16.0, i % 4 != 0, 1, 2});
  return make_verify_report("t", positions);
}

TEST(VerifyReport, TableAlongTheText) {
  const std::string table = verify_table(sixteen_positions());
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 10);
  EXPECT_NE(table.find("           0-1    0.03125    0.00000    0.00000     0.0625    50.00%"),
            std::string::npos)
      << table;
  EXPECT_NE(
      table.find(
          "           all    0.46875    0.43750    0.87500     0.9375    75.00%       7.3891       2.7183"),
      std::string::npos)
      << table;
  const Json json = verify_json_by_position(sixteen_positions(), "A", "B");
  EXPECT_EQ(json["by_position"]["kl_divergence"].size(), 16u);
  EXPECT_EQ(json["by_position"]["same_top"][0], false);
  EXPECT_EQ(json["source"], "A");
}

uint32_t number_at(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// Reads the file as a viewer does: chunks with their checksums, then the lines.
TEST(VerifyPicture, IsAPngWithADotForEachPosition) {
  const std::string file = verify_picture(sixteen_positions());
  ASSERT_EQ(file.substr(0, 8), "\x89PNG\r\n\x1A\n");
  std::string order, packed;
  uint32_t width = 0, height = 0;
  for (size_t at = 8; at < file.size();) {
    const uint32_t length = number_at(file, at);
    const std::string type = file.substr(at + 4, 4);
    ASSERT_LE(at + 12 + length, file.size());
    EXPECT_EQ(number_at(file, at + 8 + length),
              ::crc32(0, reinterpret_cast<const Bytef*>(file.data()) + at + 4, length + 4));
    if (type == "IHDR") width = number_at(file, at + 8), height = number_at(file, at + 12);
    if (type == "IDAT") packed = file.substr(at + 8, length);
    order += type + " ", at += 12 + length;
  }
  EXPECT_EQ(order, "IHDR PLTE IDAT IEND ");
  std::string lines(size_t(height) * (width + 1), '\0');
  uLongf size = lines.size();
  ASSERT_EQ(::uncompress(reinterpret_cast<Bytef*>(lines.data()), &size,
                         reinterpret_cast<const Bytef*>(packed.data()), packed.size()),
            Z_OK);
  ASSERT_EQ(size, lines.size());
  // Dots are 3 x 3; a mean's line may cover a part of them. Three colours of every four are of the same
  // token.
  const auto same = std::count(lines.begin(), lines.end(), '\3'),
             other = std::count(lines.begin(), lines.end(), '\4');
  EXPECT_GE(same, 12 * 3);
  EXPECT_LE(same, 12 * 9);
  EXPECT_GE(other, 4 * 3);
  EXPECT_LE(other, 4 * 9);
  EXPECT_LT(file.size(), 20000u);
}

}  // namespace
}  // namespace mlc::weights
