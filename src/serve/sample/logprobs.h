// Log probabilities of tokens: the log softmax of the model's own logits, before bias, penalties, temperature
// and top-p, so that they say what the model holds likely whatever a request asks for.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mlc::serve {

struct TokenLogprob {
  int32_t token = -1;
  float logprob = 0;  // minus infinity where the logit is
};

// Of one position.
struct Logprobs {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  // the most probable first; equal ones in the order of their ids
};

// `token`: the one that stands at the position. Sums are f64.
Logprobs logprobs_of(std::span<const float> logits, int32_t token, int64_t top);

}  // namespace mlc::serve
