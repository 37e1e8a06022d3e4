// Softmax in f64, draws on integers.
#include "base/draw.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace mlc {
namespace {

// Floats from 2^23 on have no fraction; below it the sum's last place is 1.
int64_t weight_of(float p) {
  constexpr float kWhole = 1 << 23;
  const float scaled = p * kDrawOne;
  return static_cast<int64_t>(scaled < kWhole ? (scaled + kWhole) - kWhole : scaled);
}

// The first cumulative weight to look for, of `mass` in all.
int64_t goal_of(int64_t mass, float uniform) {
  return std::min(static_cast<int64_t>(static_cast<float>(mass) * uniform), mass - 1) + 1;
}

struct Candidate {
  int64_t weight;
  int32_t index;
};

// Draws among the indices of at least weight `floor`; -1 when they do not reach `wanted`.
int32_t draw_nucleus(std::span<const float> p, int64_t wanted, float uniform, int64_t floor) {
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < p.size(); ++i)
    if (int64_t w = weight_of(p[i]); w >= floor) candidates.push_back({w, static_cast<int32_t>(i)});
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.weight > b.weight; });
  int64_t mass = 0;
  for (size_t i = 0; i < candidates.size() && mass < wanted; ++i) mass += candidates[i].weight;
  if (mass < wanted && floor > 1) return -1;
  int64_t cumulative = 0, goal = goal_of(mass, uniform);
  for (const Candidate& c : candidates)
    if ((cumulative += c.weight) >= goal) return c.index;
  return static_cast<int32_t>(p.size()) - 1;
}

}  // namespace

void softmax(std::span<float> logits, float inverse_temperature) {
  float top = -INFINITY;
  for (float& x : logits) {
    if (std::isnan(x)) x = -INFINITY;
    top = std::max(top, x);
  }
  if (inverse_temperature == 0 || std::isinf(top)) {
    auto ties = std::count(logits.begin(), logits.end(), top);
    for (float& x : logits) x = x == top ? 1.0f / static_cast<float>(ties) : 0.0f;
    return;
  }
  double sum = 0;
  for (float& x : logits) {
    double e = std::exp((static_cast<double>(x) - top) * inverse_temperature);
    x = static_cast<float>(e);
    sum += e;
  }
  for (float& x : logits) x = static_cast<float>(x / sum);
}

int32_t first_largest(std::span<const float> values) {
  size_t best = 0;
  for (size_t i = 1; i < values.size(); ++i)
    if (values[i] > values[best] || std::isnan(values[best])) best = i;
  return static_cast<int32_t>(best);
}

int32_t draw(std::span<const float> p, float top_p, float uniform) {
  if (top_p > 0 && top_p < kDrawAll) {
    const auto wanted = std::max<int64_t>(static_cast<int64_t>(top_p * kDrawOne), 1);
    // Weights under a 1024th of top_p rarely matter; when they do (a very flat distribution) all are sorted.
    int32_t index = draw_nucleus(p, wanted, uniform, std::max<int64_t>(wanted / 1024, 1));
    return index >= 0 ? index : draw_nucleus(p, wanted, uniform, 1);
  }
  int64_t sum = 0, largest = 0, cumulative = 0;
  for (float x : p) sum += weight_of(x), largest = std::max(largest, weight_of(x));
  const int64_t goal = top_p <= 0 ? 1 : goal_of(sum, uniform), least = top_p <= 0 ? largest : 1;
  for (size_t i = 0; i < p.size(); ++i)
    if (int64_t w = weight_of(p[i]); w >= least && (cumulative += w) >= goal) return static_cast<int32_t>(i);
  return static_cast<int32_t>(p.size()) - 1;
}

}  // namespace mlc
