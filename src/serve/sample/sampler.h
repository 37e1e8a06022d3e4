// Logits -> token in the order of mlc-facts 8.5: bias, penalties, the grammar's mask, top-k, min-p, softmax
// with temperature, top-p, draw. The last three are base/draw.h, on the host or, where a request changes no
// logit, on the device.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/draw.h"
#include "serve/sample/generation_config.h"

namespace mlc::serve {

// How often each token has been generated in a request.
using TokenCounts = std::unordered_map<int32_t, int64_t>;

// Adds the bias of each listed token, then, for each token generated c times: logit -= presence + c *
// frequency; then the repetition penalty r: a negative logit times r, a positive one divided by r.
void apply_penalties(std::span<float> logits, const GenerationConfig& config, const TokenCounts& counts);

// Puts all but the top_k largest, and those below min_p of the largest once they are probabilities at the
// request's temperature, to minus infinity. Equal logits stand and fall together.
void keep_most_probable(std::span<float> logits, const GenerationConfig& config);

// Whether the functions above change any logit of a request, whatever its counts.
bool changes_logits(const GenerationConfig& config);
// Whether the host needs the logits of a request's next token.
bool reads_logits(const GenerationConfig& config);

// The random source of one request: the same seed gives the same draws.
class Sampler {
 public:
  explicit Sampler(std::optional<uint64_t> seed);
  // How the next token is drawn: greedily where temperature is below 1e-5 or top_p is 0, else with the next
  // random number.
  DrawSettings next(const GenerationConfig& config);
  // Overwrites logits with probabilities and returns the drawn token, one of `mask` where that is given.
  int32_t sample(std::span<float> logits, const GenerationConfig& config, const TokenCounts& counts,
                 const TokenMask* mask = nullptr);

 private:
  std::mt19937 random_;
};

}  // namespace mlc::serve
