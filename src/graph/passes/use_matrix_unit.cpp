// Retypes quantized activations for a matrix unit.
#include "graph/passes/use_matrix_unit.h"

#include <algorithm>

#include "graph/ops/norm.h"
#include "graph/passes/uses.h"

namespace mlc::graph {
namespace {

bool only_multiplied(const Value* v, const std::vector<Node*>& users) {
  return std::all_of(users.begin(), users.end(),
                     [&](const Node* user) { return user && user->op == "matmul" && user->inputs[0] == v; });
}

void use_in(Function& function) {
  Uses uses = find_uses(function);
  for (const auto& node : function.nodes)
    for (Value* v : node->outputs) {
      bool fits = v->type.kind == TensorType::Kind::kQ8Activation && v->type.format.group == kTileColumns;
      if (!fits || !only_multiplied(v, uses[v]) || function.guard_of(v->type.shape[0]).max == 1) continue;
      if (node->op == "quantize_q8")
        node->op = "to_tiles";
      else if (is_norm(*node))
        node->attributes["output"] = std::string("tiles");
      else
        continue;
      v->type = TensorType::tiles(v->type.shape);
    }
}

}  // namespace

void use_matrix_unit(Module& module, const Target& target) {
  if (target.is_gpu() || target.matrix_unit.rows != kTileRows || target.matrix_unit.depth != kTileColumns)
    return;
  for (const auto& f : module.functions) {
    const bool many = f->guard_of(Dim::symbol("rows")).max == 0;
    bool last_of_several = many && std::count_if(module.functions.begin(), module.functions.end(),
                                                 [&](const auto& g) { return g->name == f->name; }) > 1;
    if (last_of_several) use_in(*f);
  }
}

}  // namespace mlc::graph
