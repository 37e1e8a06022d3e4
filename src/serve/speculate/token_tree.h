// Tokens proposed as a text's continuation, several ways at once: what one step of the model verifies.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mlc::serve {

// The first `known` nodes are the text's newest tokens, each following the one before it; the rest are
// proposals. Empty: nothing is proposed.
struct TokenTree {
  std::vector<int32_t> tokens;
  std::vector<int32_t> parents;  // a node before it; -1 of the first
  int64_t known = 0;

  int64_t size() const { return static_cast<int64_t>(tokens.size()); }
  int64_t proposals() const { return size() - known; }
  // Whether each node follows the one before it.
  bool is_chain() const {
    for (size_t i = 0; i < parents.size(); ++i)
      if (parents[i] != static_cast<int32_t>(i) - 1) return false;
    return true;
  }
  // How many proposals lead to a node.
  int64_t depth(int64_t node) const {
    int64_t depth = 0;
    for (; node >= known; node = parents[static_cast<size_t>(node)]) ++depth;
    return depth;
  }
  // The node that proposes `token` after another; -1: none does.
  int32_t child(int32_t node, int32_t token) const {
    for (auto i = static_cast<size_t>(std::max<int64_t>(known, node + 1)); i < tokens.size(); ++i)
      if (parents[i] == node && tokens[i] == token) return static_cast<int32_t>(i);
    return -1;
  }
  int32_t add(int32_t parent, int32_t token) {
    tokens.push_back(token);
    parents.push_back(parent);
    return static_cast<int32_t>(tokens.size()) - 1;
  }
};

}  // namespace mlc::serve
