// Inserts activation quantization.
#include "graph/passes/quantize_activations.h"

#include <algorithm>

#include "graph/passes/uses.h"

namespace mlc::graph {
namespace {

bool wants_q8(const Node& node) {
  return node.op == "matmul" && node.inputs[1]->type.kind == TensorType::Kind::kGroup &&
         node.inputs[1]->type.format.bits == 4 && node.inputs[0]->type.kind == TensorType::Kind::kPlain;
}

// Whether v is nothing but the left side of matmuls that want codes.
bool only_quantized_users(const Value* v, const std::vector<Node*>& users) {
  return std::all_of(users.begin(), users.end(), [&](const Node* user) {
    bool in_epilogue = user && std::any_of(user->epilogue.begin(), user->epilogue.end(),
                                           [&](const EpilogueStep& s) { return s.operand == v; });
    return user && !in_epilogue && wants_q8(*user);
  });
}

bool is_norm(const Node* node) { return node && (node->op == "rms_norm" || node->op == "layer_norm"); }

void quantize_in(Function& function) {
  Uses uses = find_uses(function);
  std::unordered_map<Value*, Value*> codes;  // value -> its q8g32 form
  std::vector<std::unique_ptr<Node>> nodes;
  for (auto& node : function.nodes) {
    if (wants_q8(*node)) {
      Value*& x = node->inputs[0];
      if (is_norm(x->producer) && only_quantized_users(x, uses[x])) {
        x->producer->attributes["output"] = std::string("q8g32");
        x->type = TensorType::q8(x->type.shape);
      } else {
        Value*& quantized = codes[x];
        if (!quantized) {
          nodes.push_back(std::make_unique<Node>());
          nodes.back()->op = "quantize_q8";
          nodes.back()->inputs = {x};
          quantized = function.add_value(TensorType::q8(x->type.shape), nodes.back().get());
          nodes.back()->outputs = {quantized};
        }
        x = quantized;
      }
    }
    nodes.push_back(std::move(node));
  }
  function.nodes = std::move(nodes);
}

}  // namespace

void quantize_activations(Module& module) {
  for (const auto& f : module.functions) quantize_in(*f);
}

}  // namespace mlc::graph
