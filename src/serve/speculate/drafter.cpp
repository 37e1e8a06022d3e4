// What drafters share.
#include "serve/speculate/drafter.h"

#include <algorithm>
#include <numeric>

namespace mlc::serve {

std::vector<int32_t> tokens_beside(std::span<const float> probabilities, int32_t token, int64_t count,
                                   int64_t vocabulary) {
  std::vector<int32_t> ids(probabilities.size()), chosen;
  std::iota(ids.begin(), ids.end(), 0);
  const auto most = std::min(probabilities.size(), static_cast<size_t>(count + 1));
  std::partial_sort(
      ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(most), ids.end(), [&](int32_t x, int32_t y) {
        const float p = probabilities[static_cast<size_t>(x)], q = probabilities[static_cast<size_t>(y)];
        return p != q ? p > q : x < y;
      });
  for (const int32_t id : std::span(ids).first(most))
    if (id != token && id < vocabulary && static_cast<int64_t>(chosen.size()) < count) chosen.push_back(id);
  return chosen;
}

}  // namespace mlc::serve
