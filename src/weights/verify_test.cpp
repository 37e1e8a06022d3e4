// The numbers of --verify on distributions small enough for paper, and the report's file.
#include "weights/verify.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/temp_folder.h"

namespace mlc::weights {
namespace {

TEST(Comparison, KnownDistributions) {
  // p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4): KL = 1/2 log 2 - 1/4 log 2. Logits may carry any constant.
  std::vector<float> p = {std::log(0.5f) + 3, std::log(0.25f) + 3, std::log(0.25f) + 3};
  std::vector<float> q = {std::log(0.25f), std::log(0.5f), std::log(0.25f)};
  Comparison c;
  ASSERT_TRUE(c.add(p, q, 0).is_ok());
  ASSERT_TRUE(c.add(p, p, 1).is_ok());
  VerifyReport r = c.report();
  EXPECT_EQ(r.positions, 2);
  EXPECT_NEAR(r.kl_divergence, 0.25 * std::log(2.0) / 2, 1e-7);
  EXPECT_NEAR(r.kl_divergence_max, 0.25 * std::log(2.0), 1e-7);
  EXPECT_EQ(r.top1_agreement, 0.5);
  EXPECT_NEAR(r.perplexity_source, std::sqrt(2.0 * 4.0), 1e-5);
  EXPECT_NEAR(r.perplexity_converted, std::sqrt(4.0 * 4.0), 1e-5);
  q[2] = INFINITY;
  EXPECT_FALSE(c.add(p, q, 0).is_ok());
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
}

}  // namespace
}  // namespace mlc::weights
