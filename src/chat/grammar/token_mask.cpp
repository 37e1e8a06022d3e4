// Sets of tokens.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
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

// Without branches, so that it is done in vectors: which tokens may come is hard to foresee.
void TokenMask::apply(std::span<float> logits) const {
  constexpr auto kNever = std::bit_cast<uint32_t>(-std::numeric_limits<float>::infinity());
  constexpr auto kBits = [] {
    std::array<uint32_t, 32> bits{};
    for (size_t i = 0; i < 32; ++i) bits[i] = 1u << i;
    return bits;
  }();
  for (size_t first = 0; first < logits.size(); first += 32) {
    const uint32_t word = first / 32 < words.size() ? words[first / 32] : 0;
    if (word == UINT32_MAX) continue;
    const size_t count = std::min<size_t>(32, logits.size() - first);
    std::array<uint32_t, 32> bits;
    std::memcpy(bits.data(), logits.data() + first, count * sizeof(float));
    for (size_t i = 0; i < 32; ++i) {
      const uint32_t drop = (word & kBits[i]) == 0 ? UINT32_MAX : 0;
      bits[i] = (bits[i] & ~drop) | (kNever & drop);
    }
    std::memcpy(logits.data() + first, bits.data(), count * sizeof(float));
  }
}

}  // namespace mlc
