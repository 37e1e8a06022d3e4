// Tests of penalties, softmax and sampling against hand-computed values and frequencies.
#include "serve/sample/sampler.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mlc::serve {
namespace {

TEST(Penalties, FollowTheOrderOfTheOriginal) {
  std::vector<float> logits = {1, 2, -3, 4};
  GenerationConfig config;
  config.logit_bias = {{0, 5.0}, {99, 1.0}};
  config.presence_penalty = 0.5;
  config.frequency_penalty = 0.25;
  config.repetition_penalty = 2;
  apply_penalties(logits, config, {{1, 2}, {2, 1}});
  EXPECT_FLOAT_EQ(logits[0], 6);
  EXPECT_FLOAT_EQ(logits[1], (2 - 0.5f - 0.5f) / 2);
  EXPECT_FLOAT_EQ(logits[2], (-3 - 0.5f - 0.25f) * 2);
  EXPECT_FLOAT_EQ(logits[3], 4);
}

TEST(Softmax, TemperatureZeroSharesTiesAndNanIsNothing) {
  std::vector<float> p = {1, 3, NAN, 3};
  softmax_with_temperature(p, 0);
  EXPECT_EQ(p, (std::vector<float>{0, 0.5f, 0, 0.5f}));
  p = {0, std::log(3.0f)};
  softmax_with_temperature(p, 1);
  EXPECT_NEAR(p[1], 0.75, 1e-6);
  p = {0, std::log(3.0f)};
  softmax_with_temperature(p, 0.5);
  EXPECT_NEAR(p[1], 0.9, 1e-6);
}

TEST(TopP, KeepsTheSmallestSetThatReachesP) {
  std::vector<float> p = {0.1f, 0.4f, 0.2f, 0.3f};
  EXPECT_EQ(sample_top_p(p, 0, 0.99), 1);
  EXPECT_EQ(sample_top_p(p, 0.5, 0.0), 1);
  EXPECT_EQ(sample_top_p(p, 0.5, 0.56), 1);   // 0.4 / 0.7 = 0.571
  EXPECT_EQ(sample_top_p(p, 0.5, 0.58), 3);
  EXPECT_EQ(sample_top_p(p, 0.5, 0.999), 3);  // 0.2 and 0.1 are never drawn
  EXPECT_EQ(sample_top_p(p, 1.0, 0.05), 0);
  EXPECT_EQ(sample_top_p(p, 1.0, 0.49), 1);
  std::vector<float> flat(5000, 1.0f / 5000);
  EXPECT_GE(sample_top_p(flat, 0.9, 0.5), 0);
}

TEST(Samplers, SameSeedSameTokensAndFrequenciesMatch) {
  GenerationConfig config;
  config.temperature = 1;
  std::vector<int> counts(3);
  Sampler a(7), b(7);
  for (int i = 0; i < 20000; ++i) {
    std::vector<float> x = {std::log(0.2f), std::log(0.5f), std::log(0.3f)}, y = x;
    int32_t token = a.sample(x, config, {});
    ASSERT_EQ(token, b.sample(y, config, {}));
    counts[static_cast<size_t>(token)]++;
  }
  // Four standard deviations of a binomial with n = 20000: 4 * sqrt(n p (1-p)) < 283.
  EXPECT_NEAR(counts[0], 4000, 283);
  EXPECT_NEAR(counts[1], 10000, 283);
}

TEST(GenerationConfigs, OutOfRangeIsASentence) {
  GenerationConfig c;
  c.temperature = -1;
  EXPECT_NE(c.validate().message().find("temperature: -1 is not in [0,"), std::string::npos);
  c.temperature = NAN;
  EXPECT_FALSE(c.validate().is_ok());
  EXPECT_TRUE(GenerationConfig{}.validate().is_ok());
}

}  // namespace
}  // namespace mlc::serve
