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
  // How many tokens the end of the text has in common with the past of an earlier place, at most kLongest; 0:
  // there is none that is worth a proposal. Precondition: put(text).
  int64_t equal_past(std::span<const int32_t> text) const;
  // Adds to `tree`, whose known nodes are the end of the text, at most `tokens` proposals on at most `width`
  // ways, those with the longest equal past first. Precondition: put(text).
  void propose(std::span<const int32_t> text, int64_t tokens, int64_t width, TokenTree& tree) const;

 private:
  struct Candidate {
    size_t end = 0;  // of the equal past
    int64_t length = 0;
  };
  std::vector<Candidate> candidates(std::span<const int32_t> text) const;

  std::unordered_map<uint64_t, int32_t> latest_;  // by hash: where the latest such n-gram ends
  std::vector<int32_t> earlier_;                  // of each place: where the one before it ends; -1: nowhere
};

}  // namespace mlc::serve
