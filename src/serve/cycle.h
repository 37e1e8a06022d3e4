// Finds out when an answer has begun to repeat itself without end.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace mlc::serve {

// Fed with an answer's tokens one by one; the work for each is the same however long the answer is.
class CycleDetector {
 public:
  static constexpr int64_t kTokens = 256, kLongestCycle = 64;

  // `tokens`: the answer so far, its newest token last. Returns whether its last kTokens are repetitions of
  // one cycle of at most kLongestCycle tokens.
  bool put(std::span<const int32_t> tokens);

 private:
  // [p]: how many of the last tokens, without a gap, equal the token p + 1 places before them.
  std::array<int32_t, kLongestCycle> runs_{};
};

}  // namespace mlc::serve
