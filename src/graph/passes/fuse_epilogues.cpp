// Fuses elementwise ops into the matmul that feeds them.
#include "graph/passes/fuse_epilogues.h"

#include <optional>

#include "graph/ops/registry.h"
#include "graph/passes/uses.h"

namespace mlc::graph {
namespace {

using Kind = EpilogueStep::Kind;

class Fuser {
 public:
  explicit Fuser(Function& function)
      : function_(function), uses_(find_uses(function)), positions_(node_positions(function)) {}

  void run() {
    for (const auto& node : function_.nodes)
      if (is_matmul(*node))
        while (absorb_user(*node)) {
        }
    erase_nodes(function_, dead_);
  }

 private:
  // Takes over the only user of the matmul's result, if it is a step; its result becomes the matmul's.
  bool absorb_user(Node& matmul) {
    Value* result = matmul.outputs[0];
    const std::vector<Node*>& users = uses_[result];
    if (users.size() != 1 || !users[0]) return false;
    Node& user = *users[0];
    auto step = as_step(user, result, matmul);
    if (!step) return false;
    matmul.epilogue.push_back(*step);
    std::swap(matmul.outputs, user.outputs);
    matmul.outputs[0]->producer = &matmul;
    result->producer = &user;
    dead_.insert(&user);
    return true;
  }

  std::optional<EpilogueStep> as_step(const Node& user, const Value* result, const Node& matmul) {
    if (user.op == "activation") return EpilogueStep{Kind::kActivation, nullptr, user.get_string("function")};
    if (user.op == "gated") return EpilogueStep{Kind::kGated, nullptr, user.get_string("function")};
    if (matmul.op == "expert_matmul") return std::nullopt;  // whose slots are in another order in some bodies
    if (user.op != "bias" && user.op != "mul" && user.op != "add") return std::nullopt;
    Value* other = user.inputs[user.inputs[0] == result ? 1 : 0];
    if (!exists_before(other, matmul)) return std::nullopt;
    return EpilogueStep{user.op == "bias"  ? Kind::kBias
                        : user.op == "mul" ? Kind::kMul
                                           : Kind::kAdd,
                        other, ""};
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
