// Uses of values and edits of functions.
#include "graph/passes/uses.h"

namespace mlc::graph {

Uses find_uses(const Function& function) {
  Uses uses;
  for (const auto& node : function.nodes) {
    for (const Value* v : node->inputs) uses[v].push_back(node.get());
    for (const Value* v : node->region.operands) uses[v].push_back(node.get());
  }
  for (const Value* v : function.results) uses[v].push_back(nullptr);
  return uses;
}

std::unordered_map<const Node*, size_t> node_positions(const Function& function) {
  std::unordered_map<const Node*, size_t> positions;
  for (size_t i = 0; i < function.nodes.size(); ++i) positions[function.nodes[i].get()] = i;
  return positions;
}

void replace_uses(Function& function, const std::unordered_map<const Value*, Value*>& replacements) {
  auto replace = [&](Value*& v) {
    if (auto it = replacements.find(v); it != replacements.end()) v = it->second;
  };
  for (const auto& node : function.nodes) {
    for (Value*& v : node->inputs) replace(v);
    for (Value*& v : node->region.operands) replace(v);
  }
  for (Value*& v : function.results) replace(v);
}

void erase_nodes(Function& function, const std::unordered_set<const Node*>& nodes) {
  std::erase_if(function.values, [&](const auto& v) { return v->producer && nodes.count(v->producer); });
  std::erase_if(function.nodes, [&](const auto& n) { return nodes.count(n.get()) != 0; });
}

}  // namespace mlc::graph
