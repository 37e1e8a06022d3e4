// Sets of tokens.
#include <algorithm>
#include <limits>

#include "chat/grammar/grammar.h"

namespace mlc {

void TokenMask::set(int32_t token, bool allowed) {
  const auto word = static_cast<size_t>(token) / 32;
  if (token < 0 || word >= words.size()) return;
  const uint32_t bit = 1u << (token % 32);
  words[word] = allowed ? words[word] | bit : words[word] & ~bit;
}

bool TokenMask::empty() const {
  return std::ranges::all_of(words, [](uint32_t word) { return word == 0; });
}

void TokenMask::apply(std::span<float> logits) const {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  for (size_t first = 0; first < logits.size(); first += 32) {
    const uint32_t word = first / 32 < words.size() ? words[first / 32] : 0;
    if (word == UINT32_MAX) continue;
    const size_t end = std::min(logits.size(), first + 32);
    for (size_t i = first; i < end; ++i)
      if ((word >> (i - first) & 1u) == 0) logits[i] = kNever;
  }
}

}  // namespace mlc
