// Splits the attention of single rows over the sequence.
#include "graph/passes/split_attention.h"

#include "graph/passes/uses.h"

namespace mlc::graph {
namespace {

class Splitter {
 public:
  Splitter(Module& module, Function& function, int64_t part_pages)
      : module_(module), function_(function), part_pages_(part_pages), uses_(find_uses(function)) {}

  void run() {
    std::vector<std::unique_ptr<Node>> nodes;
    for (auto& node : function_.nodes) {
      if (node->op != "attention") {
        nodes.push_back(std::move(node));
        continue;
      }
      auto join = split(*node);
      nodes.push_back(std::move(node));
      nodes.push_back(std::move(join));
    }
    function_.nodes = std::move(nodes);
    replace_uses(function_, replacements_);
    erase_nodes(function_, dead_);
  }

 private:
  // The only reader of a value, when that is quantize_q8 and heads are whole groups.
  Node* only_quantizer(const Value* v, int64_t value_dim) {
    const std::vector<Node*>& users = uses_[v];
    bool fits = users.size() == 1 && users[0] && users[0]->op == "quantize_q8" &&
                value_dim % users[0]->outputs[0]->type.format.group == 0;
    return fits ? users[0] : nullptr;
  }

  // Turns the node into attention_part; returns the join, which takes over its result.
  std::unique_ptr<Node> split(Node& node) {
    int64_t heads = node.get_int("heads"), value_dim = module_.find_state(node.state)->value_dim;
    auto join = std::make_unique<Node>();
    join->op = "attention_join";
    join->attributes = {{"heads", heads}};
    join->outputs = node.outputs;
    join->outputs[0]->producer = join.get();
    node.op = "attention_part";
    node.attributes["part_pages"] = part_pages_;
    Dim parts = ceildiv(node.inputs[4]->type.shape[0], part_pages_);
    node.outputs = {
        function_.add_value(TensorType::plain(DType::kF32, {parts, heads * (value_dim + 2)}), &node)};
    join->inputs = {node.outputs[0], node.inputs[2]};
    if (node.attributes.erase("sinks")) {
      join->inputs.push_back(node.inputs.back());
      node.inputs.pop_back();
    }
    if (Node* quantizer = only_quantizer(join->outputs[0], value_dim)) {
      join->outputs[0]->type = quantizer->outputs[0]->type;
      join->attributes["output"] = join->outputs[0]->type.element_text();
      replacements_[quantizer->outputs[0]] = join->outputs[0];
      dead_.insert(quantizer);
    }
    return join;
  }

  Module& module_;
  Function& function_;
  int64_t part_pages_;
  Uses uses_;
  std::unordered_map<const Value*, Value*> replacements_;
  std::unordered_set<const Node*> dead_;
};

}  // namespace

void split_attention(Module& module, int64_t part_pages) {
  for (const auto& f : module.functions)
    if (f->guard_of(Dim::symbol("rows")).max == 1) Splitter(module, *f, part_pages).run();
}

}  // namespace mlc::graph
