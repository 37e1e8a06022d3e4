// A radix tree of token texts: which texts share a beginning with a prompt, and how much of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

namespace mlc::serve {

class PrefixTree {
 public:
  using TextId = int64_t;

  PrefixTree();
  ~PrefixTree();
  PrefixTree(PrefixTree&&) noexcept;
  PrefixTree& operator=(PrefixTree&&) noexcept;

  bool contains(TextId id) const { return ends_.contains(id); }
  // Precondition: the id is new.
  void insert(TextId id, std::span<const int32_t> text);
  // Unknown ids are ignored.
  void erase(TextId id);

  // Calls visit(id, shared) for texts whose first `shared` tokens are the prompt's, the longest such
  // beginning first, until it returns false. Texts that share nothing are not visited.
  void visit_matches(std::span<const int32_t> prompt,
                     const std::function<bool(TextId, int64_t shared)>& visit) const;

 private:
  struct Node;
  Node* split(Node& node, size_t at);

  std::unique_ptr<Node> root_;
  std::map<TextId, Node*> ends_;  // where each text ends
};

}  // namespace mlc::serve
