// What is proposed from a text's past, and how much.
#include "serve/speculate/ngram.h"

#include <gtest/gtest.h>

#include "serve/speculate/draft_length.h"

namespace mlc::serve {
namespace {

using Tokens = std::vector<int32_t>;

TokenTree propose(const Tokens& text, int64_t tokens, int64_t width, int64_t known = 1) {
  NgramIndex index;
  // Token by token and at once is the same.
  for (size_t n = 1; n < text.size(); n += 3) index.put(std::span(text).first(n));
  index.put(text);
  TokenTree tree{.tokens = {text.end() - known, text.end()}, .parents = {}, .known = known};
  for (int32_t i = 0; i < known; ++i) tree.parents.push_back(i - 1);
  index.propose(text, tokens, width, tree);
  return tree;
}

TEST(Ngram, WhatFollowedTheSameTokensIsProposed) {
  const TokenTree tree = propose({1, 2, 3, 4, 5, 6, 9, 2, 3, 4}, 2, 1);
  EXPECT_EQ(tree.tokens, (Tokens{4, 5, 6}));
  EXPECT_EQ(tree.parents, (Tokens{-1, 0, 1}));
  EXPECT_TRUE(tree.is_chain());
  EXPECT_EQ(propose({1, 2, 3, 4, 5, 6, 9, 3, 4}, 2, 1).proposals(), 0) << "two equal tokens are too few";
  EXPECT_EQ(propose({1, 2, 3}, 4, 1).proposals(), 0);
  EXPECT_EQ(propose({1}, 4, 1).proposals(), 0);
}

TEST(Ngram, TheLongestEqualPastComesFirst) {
  // "7 1 2 3" was followed by 8, later "1 2 3" by 9.
  const Tokens text = {7, 1, 2, 3, 8, 5, 6, 1, 2, 3, 9, 4, 7, 1, 2, 3};
  EXPECT_EQ(propose(text, 1, 1).tokens, (Tokens{3, 8}));
  const TokenTree both = propose(text, 4, 2);
  EXPECT_EQ(both.tokens, (Tokens{3, 8, 5, 9, 4}));
  EXPECT_EQ(both.parents, (Tokens{-1, 0, 1, 0, 3}));
  EXPECT_FALSE(both.is_chain());
  EXPECT_EQ(both.child(0, 9), 3);
  EXPECT_EQ(both.child(1, 9), -1);
  EXPECT_EQ(both.depth(4), 2);
  EXPECT_EQ(both.depth(0), 0);
}

TEST(Ngram, WaysShareTheirBeginning) {
  const TokenTree tree = propose({1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 6, 0, 1, 2, 3}, 6, 2, 2);
  EXPECT_EQ(tree.known, 2);
  int64_t fours = 0;
  for (size_t i = 2; i < tree.tokens.size(); ++i) fours += tree.tokens[i] == 4;
  EXPECT_EQ(fours, 1);
  EXPECT_LE(tree.proposals(), 6);
  const int32_t four = tree.child(1, 4);
  EXPECT_GE(tree.child(four, 5), 0);
  EXPECT_GE(tree.child(four, 6), 0);
}

TEST(Ngram, ACycleGoesOn) {
  const TokenTree tree = propose({9, 1, 2, 1, 2, 1, 2}, 5, 1);
  EXPECT_EQ(tree.tokens, (Tokens{2, 1, 2, 1, 2, 1}));
}

TEST(DraftLength, GrowsWithWhatIsRightAndGivesUp) {
  constexpr int64_t kEqual = 20;
  DraftLength sure, wrong;
  for (DraftLength* of : {&sure, &wrong}) of->choose(8, kEqual, 1, 0.05);
  for (int i = 0; i < 40; ++i) sure.put(8, 8), wrong.put(8, 0);
  EXPECT_EQ(sure.choose(16, kEqual, 1, 0.05), 16);
  EXPECT_LT(sure.choose(16, 3, 1, 0.05), 16) << "what is equal for longer says nothing of what is not";
  int64_t probes = 0, proposals = 0;
  for (int i = 0; i < 100; ++i)
    if (const int64_t n = wrong.choose(16, kEqual, 1, 0.05)) wrong.put(n, 0), ++probes, proposals += n;
  EXPECT_GE(probes, 2);
  EXPECT_LE(proposals, 12);
  EXPECT_EQ(sure.choose(16, kEqual, 1, 100.0), 0) << "rows that cost as much as steps pay for nothing";
  EXPECT_LE(sure.choose(16, kEqual, 64, 0.5), sure.choose(16, kEqual, 1, 0.05))
      << "many answers share a step already";
}

TEST(DraftLength, WeighsWhatItTakesToPropose) {
  DraftLength sure;
  sure.choose(8, 0, 1, 0.05);
  for (int i = 0; i < 40; ++i) sure.put(8, 8);
  EXPECT_EQ(sure.choose(8, 0, 1, 0.05, 0.1), 8);
  EXPECT_EQ(sure.choose(8, 0, 1, 0.05, 1.0), 0) << "a draft model as slow as the model";
  DraftLength half;  // 0.5 to begin with
  const int64_t cheap = half.choose(8, 0, 1, 0.05, 0.02), dear = half.choose(8, 0, 1, 0.05, 0.2);
  EXPECT_LT(dear, cheap);
  EXPECT_GT(dear, 0);
}

TEST(StepCost, FindsTheShareOfARow) {
  StepCost cost;
  const double guess = cost.row_share();
  for (int i = 0; i < 50; ++i) cost.put(1, 0.010);
  EXPECT_EQ(cost.row_share(), guess) << "steps of one size say nothing of others";
  for (int i = 0; i < 50; ++i) cost.put(1 + i % 9, 0.008 + 0.002 * (1 + i % 9));
  EXPECT_NEAR(cost.row_share(), 0.25, 0.01);
  EXPECT_NEAR(cost.seconds(0), 0.008, 0.0005);
  EXPECT_NEAR(cost.seconds(9), 0.026, 0.001);
  StepCost one;
  EXPECT_EQ(one.seconds(1), 0);
  one.put(2, 0.012);
  EXPECT_NEAR(one.seconds(2), 0.012, 1e-9);
  EXPECT_LT(one.seconds(0), 0.012);
}

}  // namespace
}  // namespace mlc::serve
