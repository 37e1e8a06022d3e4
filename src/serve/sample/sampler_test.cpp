// Tests of penalties, settings and sampling against hand-computed values and frequencies.
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

TEST(Samplers, SettingsOfGreedyRequestsDrawNothing) {
  Sampler a(3), b(3);
  GenerationConfig greedy, random;
  greedy.temperature = 0;
  greedy.top_p = 0.5;
  random.temperature = 2;
  random.top_p = 0.25;
  EXPECT_EQ(a.next(greedy).inverse_temperature, 0);
  greedy.temperature = 1;
  greedy.top_p = 0;
  EXPECT_EQ(a.next(greedy).inverse_temperature, 0);
  EXPECT_EQ(a.next(greedy).top_p, 0);
  const DrawSettings first = a.next(random);
  EXPECT_EQ(first.inverse_temperature, 0.5f);
  EXPECT_EQ(first.top_p, 0.25f);
  EXPECT_EQ(first.uniform, b.next(random).uniform);
  EXPECT_NE(first.uniform, a.next(random).uniform);
}

TEST(Penalties, ChangeLogitsOfSomeRequests) {
  EXPECT_FALSE(changes_logits({}));
  for (double GenerationConfig::* field :
       {&GenerationConfig::frequency_penalty, &GenerationConfig::presence_penalty,
        &GenerationConfig::repetition_penalty}) {
    GenerationConfig config;
    config.*field = 1.5;
    EXPECT_TRUE(changes_logits(config));
  }
  GenerationConfig biased;
  biased.logit_bias = {{1, 2.0}};
  EXPECT_TRUE(changes_logits(biased));
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
