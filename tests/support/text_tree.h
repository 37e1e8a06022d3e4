// A text as one way through a tree of proposed tokens, beside ways that it does not take.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/sequences/sequence_store.h"

namespace mlc::testing {

// Whether a toy's rows can be trees: not with recurrences, attention that is biased by distance, or windows
// that are shorter than trees.
inline bool verifies_trees(std::string_view toy) {
  for (const char* known :
       {"rwkv", "rwkv5", "bloom", "gemma2", "gemma3_text", "gpt_oss", "mistral", "starcoder2"})
    if (toy == known) return false;
  return true;
}

// Before each token but the first stands another that may follow the same one, and before each second one
// also one that follows that.
struct TextTree {
  std::vector<int32_t> tokens, parents;
  std::vector<size_t> rows;  // of the text's tokens

  explicit TextTree(std::span<const int32_t> text) {
    int32_t last = -1;
    for (size_t i = 0; i < text.size(); ++i) {
      if (i > 0) add(text[i - 1], last);
      if (i % 2 == 1) add(text[i], static_cast<int32_t>(tokens.size()) - 1);
      rows.push_back(tokens.size());
      add(text[i], last);
      last = static_cast<int32_t>(rows.back());
    }
  }
  // All of it is proposed to follow the sequence, and asks for logits.
  runtime::StepSequence step(int64_t id) const {
    return {.id = id,
            .tokens = tokens,
            .wanted = static_cast<int64_t>(tokens.size()),
            .proposed = true,
            .parents = parents};
  }

 private:
  void add(int32_t token, int32_t parent) {
    tokens.push_back(token);
    parents.push_back(parent);
  }
};

}  // namespace mlc::testing
