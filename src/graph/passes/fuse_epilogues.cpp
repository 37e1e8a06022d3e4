// Fuses maps into the regions of their producers.
#include "graph/passes/fuse_epilogues.h"

#include <algorithm>

#include "graph/ops/norm.h"
#include "graph/passes/uses.h"

namespace mlc::graph {
namespace {

class Fuser {
 public:
  explicit Fuser(Function& function)
      : function_(function), uses_(find_uses(function)), positions_(node_positions(function)) {}

  void run() {
    for (const auto& node : function_.nodes)
      if (find_op(node->op)->region == RegionKind::kResults && !dead_.count(node.get()))
        while (absorb_user(*node)) {
        }
    erase_nodes(function_, dead_);
  }

 private:
  // Takes over the only user of the node's result, if it is a map; its result becomes the node's.
  bool absorb_user(Node& node) {
    Value* result = node.outputs[0];
    const std::vector<Node*>& users = uses_[result];
    if (users.size() != 1 || !users[0] || users[0]->op != "map") return false;
    Node& user = *users[0];
    Value* x = user.inputs[0];
    auto exists = [&](const Value* v) { return v == result || exists_before(v, node); };
    const std::vector<Value*>& operands = user.region.operands;
    // Experts' rows are slots, in another order in some bodies; parts that are normed are shorter than a row.
    if (node.op == "expert_matmul" && (x != result || !operands.empty())) return false;
    if (is_norm(node) &&
        (node.inputs[1]->type.shape[0] != result->type.shape[1] || node.attributes.count("groups")))
      return false;
    if (!exists(x) || !std::all_of(operands.begin(), operands.end(), exists)) return false;
    if (x == result) {
      // Two halves of what has been gated, or of a norm, are of no use to anyone.
      if (user.region.accumulators() == 2 && (node.region.accumulators() == 2 || is_norm(node))) return false;
      node.region = compose(node.region, user.region);
    } else {
      if (result->type != user.outputs[0]->type || !whole(user.region, result)) return false;
      node.region = compose(node.region, user.region, result, x);
    }
    std::swap(node.outputs, user.outputs);
    node.outputs[0]->producer = &node;
    result->producer = &user;
    dead_.insert(&user);
    return true;
  }

  // Whether the region reads the operand at the result's own columns.
  static bool whole(const Region& region, const Value* operand) {
    return std::all_of(region.terms.begin(), region.terms.end(), [&](const Region::Term& t) {
      return t.op != Region::Op::kOperand || t.b < 0 || region.operands[static_cast<size_t>(t.a)] != operand;
    });
  }

  bool exists_before(const Value* v, const Node& node) {
    return v->kind != Value::Kind::kResult || positions_[v->producer] < positions_[&node];
  }

  Function& function_;
  Uses uses_;
  std::unordered_map<const Node*, size_t> positions_;
  std::unordered_set<const Node*> dead_;
};

}  // namespace

void fuse_epilogues(Module& module) {
  for (const auto& f : module.functions) Fuser(*f).run();
}

}  // namespace mlc::graph
