// Brings slots into the order of their experts.
#include "graph/passes/group_experts.h"

#include <algorithm>
#include <map>

#include "graph/ops/registry.h"
#include "graph/passes/uses.h"

namespace mlc::graph {
namespace {

// The op works on each row by itself.
bool is_row_op(const Node& node) {
  return node.op == "cast" || node.op == "quantize_q8" || node.op == "slice" || node.op == "map";
}

// A row of a table for each slot, by its expert.
bool takes_of_experts(const Node& node, const Value* ids) {
  return node.op == "take" && node.inputs[1] == ids;
}

class Grouper {
 public:
  explicit Grouper(Function& function) : function_(function) {}

  void run() {
    std::vector<const Value*> all;  // ids of ungrouped matmuls
    for (const auto& node : function_.nodes)
      if (node->op == "expert_matmul" && node->inputs[2]->type.shape.size() == 2)
        if (std::ranges::find(all, node->inputs[2]) == all.end()) all.push_back(node->inputs[2]);
    for (const Value* ids : all)
      if (find_slots(ids)) group(ids);
  }

 private:
  // Collects the values that hold slots of these ids; false where one of them is used by an op to which their
  // order matters.
  bool find_slots(const Value* ids) {
    slots_.clear();
    auto has_slots = [&](const Value* v) { return slots_.count(v) != 0; };
    for (const auto& node : function_.nodes) {
      const std::vector<Value*>& operands = node->region.operands;
      bool reads = std::ranges::any_of(node->inputs, has_slots) || std::ranges::any_of(operands, has_slots);
      bool multiplies = node->op == "expert_matmul" && node->inputs[2] == ids;
      if (multiplies && !reads && node->inputs[0]->type.shape[0] != ids->type.shape[0]) return false;
      if (multiplies || takes_of_experts(*node, ids) || (reads && is_row_op(*node)))
        slots_.insert(node->outputs[0]);
      else if (reads && node->op != "expert_sum")
        return false;
      // What meets slots must be in their order too, or the same for all rows.
      if (reads && node->op == "map" &&
          !(has_slots(node->inputs[0]) && std::ranges::all_of(operands, [&](const Value* v) {
              return has_slots(v) || v->type.shape.size() == 1;
            })))
        return false;
    }
    return std::ranges::none_of(function_.results, [&](const Value* v) { return slots_.count(v) != 0; });
  }

  Node* append(const std::string& op, std::vector<Value*> inputs, Attributes attributes,
               const Module& module) {
    auto node = std::make_unique<Node>();
    node->op = op;
    node->inputs = std::move(inputs);
    node->attributes = std::move(attributes);
    for (TensorType& type : infer_types(*node, module))
      node->outputs.push_back(function_.add_value(std::move(type), node.get()));
    nodes_.push_back(std::move(node));
    return nodes_.back().get();
  }

  int64_t experts_of(const Value* ids) const {
    auto multiplies = [&](const auto& n) { return n->op == "expert_matmul" && n->inputs[2] == ids; };
    return (*std::ranges::find_if(function_.nodes, multiplies))->inputs[1]->type.shape[0].constant();
  }

  void group(const Value* ids) {
    const Module none;
    Node* groups = nullptr;
    std::map<const Value*, Value*> taken;  // rows -> slots
    Attributes attributes = {{"experts", experts_of(ids)}};
    if (std::ranges::any_of(function_.nodes, [&](const auto& n) { return takes_of_experts(*n, ids); }))
      attributes["of_places"] = true;
    for (auto& node : function_.nodes) {
      const bool multiplies = node->op == "expert_matmul" && node->inputs[2] == ids;
      if (!groups && (multiplies || takes_of_experts(*node, ids)))
        groups = append("group_slots", {node->inputs[multiplies ? 2 : 1]}, attributes, none);
      if (takes_of_experts(*node, ids)) node->inputs[1] = groups->outputs[3];
      if (multiplies) {
        Value*& x = node->inputs[0];
        if (!slots_.count(x)) {
          Value*& rows = taken[x];
          if (!rows) rows = append("take", {x, groups->outputs[0]}, {}, none)->outputs[0];
          x = rows;
        }
        node->inputs[2] = groups->outputs[2];
        node->attributes["k"] = ids->type.shape[1].constant();
      } else if (node->op == "expert_sum" && slots_.count(node->inputs[0])) {
        node->inputs.push_back(groups->outputs[1]);
      }
      nodes_.push_back(std::move(node));
    }
    function_.nodes = std::move(nodes_);
    nodes_.clear();
  }

  Function& function_;
  std::unordered_set<const Value*> slots_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace

void group_experts(Module& module) {
  for (const auto& f : module.functions)
    if (f->guard_of(Dim::symbol("rows")).max != 1) Grouper(*f).run();
}

}  // namespace mlc::graph
