// Proposes what followed the same few tokens earlier in a text (prompt lookup; the idea of arXiv:2304.04487):
// code that is edited and answers that quote repeat their prompts. Needs no second model.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "serve/speculate/token_tree.h"

namespace mlc::serve {

// Of one text, which only grows. The work for each token is the same however long the text is.
class NgramIndex {
 public:
  static constexpr int64_t kNgram = 3;       // tokens that must be equal
  static constexpr int64_t kLongest = 32;    // that are compared to tell candidates apart
  static constexpr int64_t kCandidates = 8;  // earlier places that are looked at, the latest first

  // Adds the tokens of the text that are not known yet. Precondition: the text begins as it did.
  void put(std::span<const int32_t> text);
  // Adds to `tree`, whose known nodes are the end of the text, at most `tokens` proposals on at most `width`
  // ways, those with the longest equal past first. Returns how many tokens the best one's past has in common,
  // 0 where nothing is proposed. Precondition: put(text).
  int64_t propose(std::span<const int32_t> text, int64_t tokens, int64_t width, TokenTree& tree) const;

 private:
  std::unordered_map<uint64_t, int32_t> latest_;  // by hash: where the latest such n-gram ends
  std::vector<int32_t> earlier_;                  // of each place: where the one before it ends; -1: nowhere
};

}  // namespace mlc::serve
