// Log softmax of single tokens.
#include "serve/sample/logprobs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/draw.h"

namespace mlc::serve {

Logprobs logprobs_of(std::span<const float> logits, int32_t token, int64_t top) {
  const double largest = logits[static_cast<size_t>(first_largest(logits))];
  double sum = 0;
  for (float x : logits)
    if (!std::isnan(x)) sum += std::exp(x - largest);
  const double log_sum = largest + std::log(sum);
  auto of = [&](int32_t id) {
    return TokenLogprob{id, static_cast<float>(logits[static_cast<size_t>(id)] - log_sum)};
  };
  Logprobs result{of(token), {}};
  if (top <= 0) return result;
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto end = ids.begin() + static_cast<std::ptrdiff_t>(std::min(static_cast<size_t>(top), ids.size()));
  std::partial_sort(ids.begin(), end, ids.end(), [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (auto id = ids.begin(); id != end; ++id) result.top.push_back(of(*id));
  return result;
}

}  // namespace mlc::serve
