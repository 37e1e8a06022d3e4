// Tests of softmax and draws against hand-computed values.
#include "base/draw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace mlc {
namespace {

TEST(Softmax, TemperatureZeroSharesTiesAndNanIsNothing) {
  std::vector<float> p = {1, 3, NAN, 3};
  softmax(p, 0);
  EXPECT_EQ(p, (std::vector<float>{0, 0.5f, 0, 0.5f}));
  p = {1, INFINITY, NAN, 3};
  softmax(p, 1);
  EXPECT_EQ(p, (std::vector<float>{0, 1, 0, 0}));
  p = {0, std::log(3.0f)};
  softmax(p, 1);
  EXPECT_NEAR(p[1], 0.75, 1e-6);
  p = {0, std::log(3.0f)};
  softmax(p, 2);
  EXPECT_NEAR(p[1], 0.9, 1e-6);
}

// 3e-7: the exponential's 2e-7, the roundings of its argument at most 80 in size left out by steps of 1 /
// 128.
TEST(Softmax, IsExactToAFewRoundings) {
  std::vector<float> x;
  for (int i = 0; i < 128 * 79; ++i) x.push_back(-static_cast<float>(i) / 128);
  x.push_back(-INFINITY);
  x.push_back(-90);
  double sum = 0;
  for (float v : x) sum += std::exp(double{v});
  std::vector<float> p = x;
  softmax(p, 1);
  for (size_t i = 0; i < x.size() - 2; ++i) {
    const double expected = std::exp(double{x[i]}) / sum;
    ASSERT_NEAR(p[i], expected, 3e-7 * expected) << x[i];
  }
  EXPECT_EQ(p[x.size() - 2], 0);
  EXPECT_EQ(p[x.size() - 1], 0);
}

TEST(Draw, KeepsTheSmallestSetThatReachesP) {
  std::vector<float> p = {0.1f, 0.4f, 0.2f, 0.3f};
  EXPECT_EQ(draw(p, 0, 0.99f), 1);
  EXPECT_EQ(draw(p, 0.5f, 0), 1);
  EXPECT_EQ(draw(p, 0.5f, 0.56f), 1);  // 0.4 / 0.7 = 0.571
  EXPECT_EQ(draw(p, 0.5f, 0.58f), 3);
  EXPECT_EQ(draw(p, 0.5f, 1), 3);  // 0.2 and 0.1 are never drawn
  EXPECT_EQ(draw(p, 1, 0.05f), 0);
  EXPECT_EQ(draw(p, 1, 0.49f), 1);
  EXPECT_EQ(draw(p, 1, 1), 3);
  EXPECT_EQ(draw({p.data(), 1}, 0.5f, 0.5f), 0);
}

// Of 5000 equal ones, 0.9 keep the first 4500: at 0.5 the 2250th.
TEST(Draw, TiesKeepTheirOrder) {
  std::vector<float> flat(5000, 1.0f / 5000);
  EXPECT_NEAR(draw(flat, 0.9f, 0.5f), 2250, 1);
  EXPECT_NEAR(draw(flat, 0.9f, 1), 4500, 1);
  EXPECT_NEAR(draw(flat, 1, 0.5f), 2500, 1);
  EXPECT_EQ(draw(flat, 0, 0.5f), 0);
  std::vector<float> zeros(8, 0);
  zeros[5] = zeros[6] = 0.5f;
  for (float top_p : {0.3f, 0.7f, 1.0f}) EXPECT_EQ(draw(zeros, top_p, 0), 5) << top_p;
  for (float top_p : {0.7f, 1.0f}) EXPECT_EQ(draw(zeros, top_p, 0.75f), 6) << top_p;
}

TEST(Draw, TheFirstLargestIsTheGreedyOne) {
  EXPECT_EQ(first_largest(std::vector<float>{NAN, 1, 4, NAN, 4, 2}), 2);
  std::mt19937 random(5);
  for (int i = 0; i < 50; ++i) {
    std::vector<float> x(40);
    for (float& v : x) v = static_cast<float>(random() % 50) - 25;
    const int32_t expected = first_largest(x);
    softmax(x, 0);
    EXPECT_EQ(draw(x, 0, 0.5f), expected);
  }
}

}  // namespace
}  // namespace mlc
