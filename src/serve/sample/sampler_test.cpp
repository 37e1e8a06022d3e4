// Tests of penalties, settings and sampling against hand-computed values and frequencies.
#include "serve/sample/sampler.h"

#include <gtest/gtest.h>

#include <cmath>

#include "serve/sample/logprobs.h"

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

TEST(Sampler, KeepsTheMostProbable) {
  const std::vector<float> given = {1, 3, 2, 3, 0};
  auto kept = [&](int64_t top_k, double min_p, double temperature) {
    std::vector<float> logits = given;
    GenerationConfig config;
    config.top_k = top_k;
    config.min_p = min_p;
    config.temperature = temperature;
    keep_most_probable(logits, config);
    std::vector<size_t> indices;
    for (size_t i = 0; i < logits.size(); ++i)
      if (logits[i] == given[i]) indices.push_back(i);
    return indices;
  };
  EXPECT_EQ(kept(1, 0, 1), (std::vector<size_t>{1, 3}));  // equal ones together
  EXPECT_EQ(kept(3, 0, 1), (std::vector<size_t>{1, 2, 3}));
  EXPECT_EQ(kept(9, 0, 1).size(), 5u);
  // exp(2 - 3) = 0.37, exp(1 - 3) = 0.135; at temperature 2 their roots, 0.61 and 0.37
  EXPECT_EQ(kept(0, 0.3, 1), (std::vector<size_t>{1, 2, 3}));
  EXPECT_EQ(kept(0, 0.3, 2), (std::vector<size_t>{0, 1, 2, 3}));
  EXPECT_EQ(kept(0, 1, 1), (std::vector<size_t>{1, 3}));
}

TEST(Logprobs, OfATokenAndTheBest) {
  const std::vector<float> logits = {std::log(0.2f) + 7, std::log(0.5f) + 7, std::log(0.3f) + 7, -INFINITY};
  const Logprobs result = logprobs_of(logits, 0, 2);
  EXPECT_NEAR(result.chosen.logprob, std::log(0.2), 1e-6);
  ASSERT_EQ(result.top.size(), 2u);
  EXPECT_EQ(result.top[0].token, 1);
  EXPECT_EQ(result.top[1].token, 2);
  EXPECT_NEAR(result.top[1].logprob, std::log(0.3), 1e-6);
  EXPECT_EQ(logprobs_of(logits, 3, 9).top.size(), 4u);
  EXPECT_EQ(logprobs_of(logits, 3, 0).chosen.logprob, -INFINITY);
}

}  // namespace
}  // namespace mlc::serve
