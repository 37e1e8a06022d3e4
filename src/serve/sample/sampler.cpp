// Logits -> token.
#include "serve/sample/sampler.h"

#include <algorithm>
#include <cmath>

namespace mlc::serve {
namespace {

constexpr double kGreedyTemperature = 1e-5;
constexpr double kAllProbability = 1 - 1e-5;

size_t largest(std::span<const float> values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

// Draws among the tokens that, sorted, first reach top_p; tokens below `floor` are not looked at. -1 when those looked
// at do not reach top_p.
int32_t sample_nucleus(std::span<const float> p, double top_p, double u, double floor) {
  std::vector<std::pair<float, int32_t>> candidates;
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] >= floor) candidates.emplace_back(p[i], static_cast<int32_t>(i));
  std::stable_sort(candidates.begin(), candidates.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  double mass = 0;
  size_t kept = 0;
  while (kept < candidates.size() && mass < top_p) mass += candidates[kept++].first;
  if (candidates.empty() || (mass < top_p && floor > 0)) return -1;
  double cumulative = 0;
  for (size_t i = 0; i < kept; ++i) {
    cumulative += candidates[i].first;
    if (u < cumulative / mass) return candidates[i].second;
  }
  return candidates[kept - 1].second;
}

}  // namespace

void apply_penalties(std::span<float> logits, const GenerationConfig& config, const TokenCounts& counts) {
  auto in_range = [&](int32_t token) { return token >= 0 && static_cast<size_t>(token) < logits.size(); };
  for (const auto& [token, bias] : config.logit_bias)
    if (in_range(token)) logits[static_cast<size_t>(token)] += static_cast<float>(bias);
  for (const auto& [token, count] : counts) {
    if (!in_range(token)) continue;
    float& logit = logits[static_cast<size_t>(token)];
    logit -= static_cast<float>(config.presence_penalty + static_cast<double>(count) * config.frequency_penalty);
    float r = static_cast<float>(config.repetition_penalty);
    logit = logit < 0 ? logit * r : logit / r;
  }
}

void softmax_with_temperature(std::span<float> logits, double temperature) {
  float top = -INFINITY;
  for (float& x : logits) {
    if (std::isnan(x)) x = -INFINITY;
    top = std::max(top, x);
  }
  if (temperature < kGreedyTemperature || std::isinf(top)) {
    auto ties = std::count(logits.begin(), logits.end(), top);
    for (float& x : logits) x = x == top ? 1.0f / static_cast<float>(ties) : 0.0f;
    return;
  }
  double sum = 0;
  for (float& x : logits) {
    double e = std::exp((static_cast<double>(x) - top) / temperature);
    x = static_cast<float>(e);
    sum += e;
  }
  for (float& x : logits) x = static_cast<float>(x / sum);
}

int32_t sample_top_p(std::span<const float> p, double top_p, double u) {
  if (top_p <= 0) return static_cast<int32_t>(largest(p));
  if (top_p >= kAllProbability) {
    double cumulative = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      cumulative += p[i];
      if (cumulative >= u && p[i] > 0) return static_cast<int32_t>(i);
    }
    return static_cast<int32_t>(largest(p));
  }
  // Tokens under a 1024th of top_p rarely matter; when they do (a very flat distribution) all are sorted.
  int32_t token = sample_nucleus(p, top_p, u, top_p / 1024);
  return token >= 0 ? token : sample_nucleus(p, top_p, u, 0);
}

Sampler::Sampler(std::optional<uint64_t> seed) : random_(seed ? static_cast<uint32_t>(*seed) : std::random_device{}()) {}

int32_t Sampler::sample(std::span<float> logits, const GenerationConfig& config, const TokenCounts& counts) {
  apply_penalties(logits, config, counts);
  if (config.temperature < kGreedyTemperature) return static_cast<int32_t>(largest(logits));
  softmax_with_temperature(logits, config.temperature);
  return sample_top_p(logits, config.top_p, std::uniform_real_distribution<double>(0, 1)(random_));
}

}  // namespace mlc::serve
