// When an answer counts as a cycle: against a check of the definition itself.
#include "serve/cycle.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace mlc::serve {
namespace {

// After how many of the tokens the detector first speaks; -1 for never.
int64_t found_after(const std::vector<int32_t>& tokens) {
  CycleDetector detector;
  for (size_t n = 1; n <= tokens.size(); ++n)
    if (detector.put(std::span(tokens).first(n))) return static_cast<int64_t>(n);
  return -1;
}

int64_t defined_after(const std::vector<int32_t>& tokens) {
  for (size_t n = 256; n <= tokens.size(); ++n)
    for (size_t period = 1; period <= 64; ++period) {
      bool cycle = true;
      for (size_t i = n - 256 + period; i < n && cycle; ++i) cycle = tokens[i] == tokens[i - period];
      if (cycle) return static_cast<int64_t>(n);
    }
  return -1;
}

// `lead` tokens that never repeat, then a cycle of `period` up to `size`.
std::vector<int32_t> cycling(size_t lead, size_t period, size_t size) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < size; ++i)
    tokens.push_back(static_cast<int32_t>(i < lead ? 1000 + i : (i - lead) % period));
  return tokens;
}

TEST(CycleDetectors, SpeakAfter256TokensOfCyclesUpTo64) {
  for (size_t period : {1, 2, 3, 63, 64})
    EXPECT_EQ(found_after(cycling(10, period, 400)), 10 + 256) << period;
  EXPECT_EQ(found_after(cycling(0, 7, 400)), 256);
  EXPECT_EQ(found_after(cycling(0, 65, 1000)), -1);
  EXPECT_EQ(found_after(cycling(0, 5, 255)), -1);
}

TEST(CycleDetectors, OneOtherTokenStartsTheCountAnew) {
  std::vector<int32_t> tokens = cycling(0, 4, 600);
  tokens[200] = 99;
  EXPECT_EQ(found_after(tokens), 201 + 256);
}

TEST(CycleDetectors, FollowTheDefinition) {
  std::mt19937 random(5);
  int spoke = 0;
  for (int round = 0; round < 40; ++round) {
    std::vector<int32_t> tokens;
    while (tokens.size() < 1200) {  // stretches of cycles
      size_t period = 1 + random() % 80, length = 1 + random() % 300;
      std::vector<int32_t> cycle;
      for (size_t i = 0; i < period; ++i) cycle.push_back(static_cast<int32_t>(random() % 3));
      for (size_t i = 0; i < length; ++i) tokens.push_back(cycle[i % period]);
    }
    EXPECT_EQ(found_after(tokens), defined_after(tokens)) << round;
    spoke += found_after(tokens) >= 0;
  }
  EXPECT_GT(spoke, 5);
}

}  // namespace
}  // namespace mlc::serve
