// Texts as paths: an edge holds the tokens that all texts below it share.
#include "serve/cache/prefix_tree.h"

#include <algorithm>

#include "base/check.h"

namespace mlc::serve {

struct PrefixTree::Node {
  std::vector<int32_t> edge;  // from its parent
  Node* parent = nullptr;
  std::map<int32_t, std::unique_ptr<Node>> children;  // by the first token of their edge
  std::vector<TextId> texts;                          // that end here
};

namespace {

size_t shared_beginning(std::span<const int32_t> a, std::span<const int32_t> b) {
  return static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

PrefixTree::PrefixTree() : root_(std::make_unique<Node>()) {}
PrefixTree::~PrefixTree() = default;
PrefixTree::PrefixTree(PrefixTree&&) noexcept = default;
PrefixTree& PrefixTree::operator=(PrefixTree&&) noexcept = default;

// A new node in the middle of the edge to `node`.
PrefixTree::Node* PrefixTree::split(Node& node, size_t at) {
  std::unique_ptr<Node>& place = node.parent->children.at(node.edge[0]);
  auto middle = std::make_unique<Node>();
  const auto cut = node.edge.begin() + static_cast<std::ptrdiff_t>(at);
  middle->edge.assign(node.edge.begin(), cut);
  middle->parent = node.parent;
  node.edge.erase(node.edge.begin(), cut);
  node.parent = middle.get();
  middle->children.emplace(node.edge[0], std::move(place));
  place = std::move(middle);
  return place.get();
}

void PrefixTree::insert(TextId id, std::span<const int32_t> text) {
  internal_check(!ends_.contains(id), "text ", id, " is in the tree");
  Node* node = root_.get();
  while (!text.empty()) {
    auto child = node->children.find(text[0]);
    if (child == node->children.end()) {
      auto leaf = std::make_unique<Node>();
      leaf->edge.assign(text.begin(), text.end());
      leaf->parent = node;
      node = node->children.emplace(text[0], std::move(leaf)).first->second.get();
      break;
    }
    const size_t shared = shared_beginning(child->second->edge, text);
    node = shared < child->second->edge.size() ? split(*child->second, shared) : child->second.get();
    text = text.subspan(shared);
  }
  node->texts.push_back(id);
  ends_.emplace(id, node);
}

void PrefixTree::erase(TextId id) {
  auto end = ends_.find(id);
  if (end == ends_.end()) return;
  Node* node = end->second;
  ends_.erase(end);
  std::erase(node->texts, id);
  while (node->parent && node->texts.empty() && node->children.empty()) {
    Node* parent = node->parent;
    parent->children.erase(node->edge[0]);
    node = parent;
  }
  // An edge that no text ends at and nothing branches off is one with the next.
  if (!node->parent || !node->texts.empty() || node->children.size() != 1) return;
  std::unique_ptr<Node> below = std::move(node->children.begin()->second);
  below->edge.insert(below->edge.begin(), node->edge.begin(), node->edge.end());
  below->parent = node->parent;
  node->parent->children.at(below->edge[0]) = std::move(below);
}

void PrefixTree::visit_matches(std::span<const int32_t> prompt,
                               const std::function<bool(TextId, int64_t)>& visit) const {
  // The deepest node that some token of the prompt leads into.
  const Node* node = root_.get();
  size_t depth = 0, shared = 0;  // tokens from the root to `node`, and those of them that the prompt has
  while (depth < prompt.size() && shared == depth) {
    auto child = node->children.find(prompt[depth]);
    if (child == node->children.end()) break;
    node = child->second.get();
    shared = depth + shared_beginning(node->edge, prompt.subspan(depth));
    depth += node->edge.size();
  }
  const Node* visited = nullptr;
  const std::function<bool(const Node&)> visit_below = [&](const Node& n) {
    for (TextId id : n.texts)
      if (!visit(id, static_cast<int64_t>(shared))) return false;
    return std::ranges::all_of(n.children, [&](const auto& child) {
      return child.second.get() == visited || visit_below(*child.second);
    });
  };
  for (; node->parent; node = node->parent) {
    if (!visit_below(*node)) return;
    visited = node;
    depth -= node->edge.size();
    shared = depth;
  }
}

}  // namespace mlc::serve
