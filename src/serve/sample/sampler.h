// Logits -> token, on the host, in the order of mlc-facts 8.5: bias, penalties, softmax with temperature, top-p, draw.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <unordered_map>
#include <vector>

#include "serve/sample/generation_config.h"

namespace mlc::serve {

// How often each token has been generated in a request.
using TokenCounts = std::unordered_map<int32_t, int64_t>;

// Adds the bias of each listed token, then, for each token generated c times: logit -= presence + c * frequency; then
// the repetition penalty r: a negative logit times r, a positive one divided by r.
void apply_penalties(std::span<float> logits, const GenerationConfig& config, const TokenCounts& counts);

// Probabilities of logits / temperature in place (f64 sums). Temperature below 1e-5: all mass on the largest logit,
// shared over exact ties. A NaN logit counts as minus infinity.
void softmax_with_temperature(std::span<float> logits, double temperature);

// Draws with uniform u in [0, 1): top_p of 0 is the largest probability; top_p >= 1 - 1e-5 the first index whose
// cumulative probability reaches u; otherwise among the most probable tokens that together reach top_p.
int32_t sample_top_p(std::span<const float> probabilities, double top_p, double u);

// The random source of one request: the same seed gives the same draws.
class Sampler {
 public:
  explicit Sampler(std::optional<uint64_t> seed);
  // Overwrites logits with probabilities and returns the drawn token.
  int32_t sample(std::span<float> logits, const GenerationConfig& config, const TokenCounts& counts);

 private:
  std::mt19937 random_;
};

}  // namespace mlc::serve
