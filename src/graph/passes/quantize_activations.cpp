// Inserts activation quantization.
#include "graph/passes/quantize_activations.h"

#include <algorithm>
#include <map>
#include <utility>

#include "graph/ops/norm.h"
#include "graph/passes/uses.h"

namespace mlc::graph {
namespace {

bool wants_q8(const Node& node) {
  return is_matmul(node) && node.inputs[1]->type.kind == TensorType::Kind::kGroup &&
         node.inputs[1]->type.format.is_centered() && node.inputs[0]->type.kind == TensorType::Kind::kPlain;
}

// What a matmul that wants codes wants.
TensorType q8_input(const Node& node) {
  return TensorType::q8(node.inputs[0]->type.shape, node.inputs[1]->type.format);
}

// Whether v is nothing but the left side of matmuls that want codes of this type.
bool only_quantized_users(const Value* v, const std::vector<Node*>& users, const TensorType& type) {
  return std::all_of(users.begin(), users.end(), [&](const Node* user) {
    bool in_region = user && std::count(user->region.operands.begin(), user->region.operands.end(), v) != 0;
    return user && !in_region && wants_q8(*user) && q8_input(*user) == type;
  });
}

void quantize_in(Function& function) {
  Uses uses = find_uses(function);
  std::map<std::pair<Value*, int>, Value*> codes;  // a value and the group's size -> its quantized form
  std::vector<std::unique_ptr<Node>> nodes;
  for (auto& node : function.nodes) {
    if (wants_q8(*node)) {
      Value*& x = node->inputs[0];
      TensorType type = q8_input(*node);
      if (x->producer && is_norm(*x->producer) && only_quantized_users(x, uses[x], type)) {
        x->producer->attributes["output"] = type.element_text();
        x->type = type;
      } else {
        Value*& quantized = codes[{x, type.format.group}];
        if (!quantized) {
          nodes.push_back(std::make_unique<Node>());
          nodes.back()->op = "quantize_q8";
          nodes.back()->inputs = {x};
          if (type != TensorType::q8(type.shape)) nodes.back()->attributes["output"] = type.element_text();
          quantized = function.add_value(type, nodes.back().get());
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
