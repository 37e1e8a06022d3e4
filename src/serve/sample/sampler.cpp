// Logits -> token.
#include "serve/sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace mlc::serve {
namespace {

constexpr double kGreedyTemperature = 1e-5;

}  // namespace

void apply_penalties(std::span<float> logits, const GenerationConfig& config, const TokenCounts& counts) {
  auto in_range = [&](int32_t token) { return token >= 0 && static_cast<size_t>(token) < logits.size(); };
  for (const auto& [token, bias] : config.logit_bias)
    if (in_range(token)) logits[static_cast<size_t>(token)] += static_cast<float>(bias);
  for (const auto& [token, count] : counts) {
    if (!in_range(token)) continue;
    float& logit = logits[static_cast<size_t>(token)];
    logit -=
        static_cast<float>(config.presence_penalty + static_cast<double>(count) * config.frequency_penalty);
    float r = static_cast<float>(config.repetition_penalty);
    logit = logit < 0 ? logit * r : logit / r;
  }
}

void keep_most_probable(std::span<float> logits, const GenerationConfig& config) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  float least = kNever;
  if (config.top_k > 0 && static_cast<size_t>(config.top_k) < logits.size()) {
    std::vector<float> sorted(logits.begin(), logits.end());
    const auto last = sorted.begin() + (config.top_k - 1);
    std::nth_element(sorted.begin(), last, sorted.end(), std::greater<>());
    least = *last;
  }
  if (config.min_p > 0) {
    const float largest = logits[static_cast<size_t>(first_largest(logits))];
    // exp((x - largest) / temperature) >= min_p
    least = std::max(least, largest + static_cast<float>(config.temperature * std::log(config.min_p)));
  }
  for (float& x : logits)
    if (x < least) x = kNever;
}

bool reads_logits(const GenerationConfig& config) {
  return config.logprobs || config.prompt_logprobs || changes_logits(config);
}

bool changes_logits(const GenerationConfig& c) {
  return !c.logit_bias.empty() || c.presence_penalty != 0 || c.frequency_penalty != 0 ||
         c.repetition_penalty != 1 || c.top_k > 0 || c.min_p > 0 || c.grammar;
}

Sampler::Sampler(std::optional<uint64_t> seed)
    : random_(seed ? static_cast<uint32_t>(*seed) : std::random_device{}()) {}

DrawSettings Sampler::next(const GenerationConfig& config) {
  if (config.temperature < kGreedyTemperature || config.top_p <= 0) return {};
  double uniform = std::uniform_real_distribution<double>(0, 1)(random_);
  return {static_cast<float>(1 / config.temperature), static_cast<float>(config.top_p),
          static_cast<float>(uniform)};
}

int32_t Sampler::sample(std::span<float> logits, const GenerationConfig& config, const TokenCounts& counts,
                        const TokenMask* mask) {
  apply_penalties(logits, config, counts);
  if (mask) mask->apply(logits);
  if (config.top_k > 0 || config.min_p > 0) keep_most_probable(logits, config);
  const DrawSettings settings = next(config);
  if (settings.inverse_temperature == 0) return first_largest(logits);
  softmax(logits, settings.inverse_temperature);
  return draw(logits, settings.top_p, settings.uniform);
}

}  // namespace mlc::serve
