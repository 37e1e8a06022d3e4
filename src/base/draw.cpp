// Softmax with f64 sums, draws on integers.
#include "base/draw.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
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

// Loops of kLanes independent steps become vectors, and their order is the same on every machine.
constexpr size_t kLanes = 16;
using Lanes = std::array<float, kLanes>;

// Calls body(lanes) for all values in turn, the last ones filled up with NaN, and puts back what it leaves.
template <typename Body>
void for_lanes(std::span<float> values, Body body) {
  for (size_t first = 0; first < values.size(); first += kLanes) {
    const size_t count = std::min(kLanes, values.size() - first);
    Lanes lanes;
    if (count < kLanes) lanes.fill(NAN);
    std::memcpy(lanes.data(), values.data() + first, count * sizeof(float));
    body(lanes);
    std::memcpy(values.data() + first, lanes.data(), count * sizeof(float));
  }
}

// e^x for x <= 0 to 2e-7 of itself, 0 below e^-80 and for NaN: 2^n e^f with |f| <= ln 2 / 2, where the
// polynomial's first missing term is f^7 / 5040 < 1.2e-7.
float exp_of(float x) {
  constexpr float kLowest = -80, kLog2E = 1.44269504f;
  constexpr float kWhole = 3 << 22;                                    // added, a number loses its fraction
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;  // n * high is exact
  const float d = x > kLowest ? x : kLowest;
  const float shifted = d * kLog2E + kWhole, n = shifted - kWhole;
  const float f = (d - n * kLn2High) - n * kLn2Low;
  float e = f * (1.0f / 720) + 1.0f / 120;
  e = e * f + 1.0f / 24;
  e = e * f + 1.0f / 6;
  e = (e * f + 0.5f) * f;
  e = (e + 1) * f + 1;
  const uint32_t power = (std::bit_cast<uint32_t>(shifted) << 23) + std::bit_cast<uint32_t>(1.0f);
  const uint32_t kept = x > kLowest ? UINT32_MAX : 0;  // a mask, which vectors have, is no branch
  return std::bit_cast<float>(std::bit_cast<uint32_t>(e * std::bit_cast<float>(power)) & kept);
}

float largest_of(std::span<float> logits) {
  Lanes top;
  top.fill(-INFINITY);
  for_lanes(logits, [&](Lanes& x) {
    for (size_t i = 0; i < kLanes; ++i) top[i] = x[i] > top[i] ? x[i] : top[i];
  });
  return *std::max_element(top.begin(), top.end());
}

}  // namespace

void softmax(std::span<float> logits, float inverse_temperature) {
  const float top = largest_of(logits);
  if (inverse_temperature == 0 || std::isinf(top)) {
    auto ties = std::count(logits.begin(), logits.end(), top);
    for (float& x : logits) x = x == top ? 1.0f / static_cast<float>(ties) : 0.0f;
    return;
  }
  std::array<double, kLanes> sums{};
  for_lanes(logits, [&](Lanes& x) {
    for (size_t i = 0; i < kLanes; ++i) x[i] = exp_of((x[i] - top) * inverse_temperature);
    for (size_t i = 0; i < kLanes; ++i) sums[i] += static_cast<double>(x[i]);
  });
  double sum = 0;
  for (double s : sums) sum += s;
  const double share = 1 / sum;
  for_lanes(logits, [&](Lanes& x) {
    for (size_t i = 0; i < kLanes; ++i) x[i] = static_cast<float>(static_cast<double>(x[i]) * share);
  });
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
