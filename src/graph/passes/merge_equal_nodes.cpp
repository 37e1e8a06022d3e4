// Common subexpression elimination of ops without state.
#include "graph/passes/merge_equal_nodes.h"

#include "base/strings.h"
#include "graph/passes/uses.h"
#include "graph/print.h"

namespace mlc::graph {
namespace {

// Equal texts mean equal computations: the statement without its results. Names are unique within a function,
// and '@' and
// '%' tell parameters from values.
std::string computation(const Node& node) {
  std::string text = print(node);
  return node.outputs.empty() ? text : text.substr(text.find(" = ") + 3);
}

void merge_in(Function& function) {
  std::unordered_map<std::string, Node*> known;
  std::unordered_map<const Value*, Value*> replacements;
  std::unordered_set<const Node*> merged;
  auto replace = [&](Value*& v) {
    if (auto it = replacements.find(v); it != replacements.end()) v = it->second;
  };
  for (const auto& node : function.nodes) {
    for (Value*& v : node->inputs) replace(v);
    for (Value*& v : node->region.operands) replace(v);
    if (!node->state.empty()) continue;
    auto [it, added] = known.emplace(computation(*node), node.get());
    if (added) continue;
    for (size_t i = 0; i < node->outputs.size(); ++i) replacements[node->outputs[i]] = it->second->outputs[i];
    merged.insert(node.get());
  }
  replace_uses(function, replacements);
  erase_nodes(function, merged);
}

}  // namespace

void merge_equal_nodes(Module& module) {
  for (const auto& f : module.functions) merge_in(*f);
}

}  // namespace mlc::graph
