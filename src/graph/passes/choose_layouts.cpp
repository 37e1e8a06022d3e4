// Physical layouts of parameters.
#include "graph/passes/choose_layouts.h"

#include <unordered_set>

namespace mlc::graph {

void choose_layouts(Module& module, const Target& target, int opt_level) {
  std::unordered_set<const Value*> multiplied;
  for (const auto& f : module.functions)
    for (const auto& node : f->nodes)
      if (node->op == "matmul") multiplied.insert(node->inputs[1]);
  for (const auto& p : module.parameters) {
    bool tiled = opt_level >= 2 && target.kind == "cpu" && multiplied.count(p.get()) &&
                 p->type.kind == TensorType::Kind::kGroup && p->type.format.bits == 4;
    p->type.layout = tiled ? "tile8" : "packed";
  }
}

}  // namespace mlc::graph
