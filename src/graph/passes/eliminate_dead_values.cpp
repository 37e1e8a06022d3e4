// Dead code elimination.
#include "graph/passes/eliminate_dead_values.h"

#include <algorithm>

#include "graph/ops/registry.h"
#include "graph/passes/uses.h"

namespace mlc::graph {
namespace {

void eliminate_in(Function& function) {
  std::unordered_set<const Value*> needed(function.results.begin(), function.results.end());
  std::unordered_set<const Node*> dead;
  for (auto it = function.nodes.rbegin(); it != function.nodes.rend(); ++it) {
    const Node& node = **it;
    auto is_needed = [&](const Value* v) { return needed.count(v) != 0; };
    if (!find_op(node.op)->writes_state &&
        std::none_of(node.outputs.begin(), node.outputs.end(), is_needed)) {
      dead.insert(&node);
      continue;
    }
    needed.insert(node.inputs.begin(), node.inputs.end());
    needed.insert(node.region.operands.begin(), node.region.operands.end());
  }
  erase_nodes(function, dead);
}

}  // namespace

void eliminate_dead_values(Module& module) {
  for (const auto& f : module.functions) eliminate_in(*f);
}

}  // namespace mlc::graph
