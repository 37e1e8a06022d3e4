// Fuses norms into matmuls.
#include "graph/passes/fuse_norms.h"

#include <algorithm>

#include "graph/ops/check.h"
#include "graph/ops/norm.h"
#include "graph/passes/uses.h"

namespace mlc::graph {
namespace {

// Whether the node norms a whole row, one in all, as f32 and no more.
bool norms_one_row(const Function& function, const Node& node, int64_t most_bytes) {
  if (!is_norm(node) || !node.region.empty() || node.attributes.count("output")) return false;
  const TensorType& x = node.inputs[0]->type;
  return function.guard_of(x.shape[0]).max == 1 && node.inputs[1]->type.shape[0] == x.shape[1] &&
         columns(x) * size_of(DType::kF32) <= most_bytes;
}

// Whether the matmul reads v as its x alone and takes a norm for it.
bool takes_norm(const Node* user, const Value* v) {
  return user && is_matmul(*user) && user->inputs[1]->type.kind == TensorType::Kind::kGroup &&
         std::count(user->inputs.begin(), user->inputs.end(), v) == 1 && user->inputs[0] == v &&
         std::count(user->region.operands.begin(), user->region.operands.end(), v) == 0;
}

void fuse_in(Function& function, int64_t most_bytes) {
  Uses uses = find_uses(function);
  std::unordered_set<const Node*> dead;
  for (const auto& node : function.nodes) {
    if (!norms_one_row(function, *node, most_bytes)) continue;
    const Value* v = node->outputs[0];
    const std::vector<Node*>& users = uses[v];
    if (!std::all_of(users.begin(), users.end(), [&](const Node* user) { return takes_norm(user, v); }))
      continue;
    for (Node* user : users) {
      user->inputs[0] = node->inputs[0];
      user->inputs.insert(user->inputs.end(), node->inputs.begin() + 1, node->inputs.end());
      user->attributes[kNormAttribute] = node->op;
      user->attributes["eps"] = node->attributes.at("eps");
    }
    dead.insert(node.get());
  }
  erase_nodes(function, dead);
}

}  // namespace

void fuse_norms(Module& module, int64_t most_bytes) {
  for (const auto& f : module.functions) fuse_in(*f, most_bytes);
}

}  // namespace mlc::graph
