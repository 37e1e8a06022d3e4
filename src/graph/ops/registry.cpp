// Gathers the op families into one table and checks what all ops have in common.
#include "graph/ops/registry.h"

#include "graph/ops/check.h"

namespace mlc::graph {
namespace {

std::map<std::string, OpInfo> gather() {
  std::map<std::string, OpInfo> table;
  for (auto family : {elementwise_ops, matmul_ops, norm_ops, quantize_ops, rope_ops, take_ops, attention_ops,
                      cache_ops, sample_ops, expert_ops, recurrence_ops, lora_ops})
    for (OpInfo& op : family()) table.emplace(op.name, std::move(op));
  return table;
}

const std::map<std::string, OpInfo>& table() {
  static const std::map<std::string, OpInfo> ops = gather();
  return ops;
}

}  // namespace

int64_t HostTensor::elements() const {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

bool is_matmul(const Node& node) { return node.op == "matmul" || node.op == "expert_matmul"; }

const OpInfo* find_op(const std::string& name) {
  auto it = table().find(name);
  return it == table().end() ? nullptr : &it->second;
}

std::vector<std::string> op_names() {
  std::vector<std::string> names;
  for (const auto& [name, op] : table()) names.push_back(name);
  return names;
}

std::vector<TensorType> infer_types(const Node& node, const Module& module) {
  const OpInfo* op = find_op(node.op);
  if (!op) refuse("unknown op '", node.op, "'", did_you_mean(node.op, op_names()));
  int count = static_cast<int>(node.inputs.size());
  if (count < op->min_inputs || count > op->max_inputs)
    refuse(count, " operands, expected ", op->min_inputs,
           op->max_inputs == op->min_inputs ? "" : str(" to ", op->max_inputs));
  if (op->has_state && node.state.empty()) refuse("names no state");
  if (!op->has_state && !node.state.empty()) refuse("takes no state, but names $", node.state);
  for (const std::string& name : op->required_attributes)
    if (!node.attributes.count(name)) refuse("attribute '", name, "' is missing");
  if (!node.region.empty() && op->region == RegionKind::kNone) refuse("takes no region");
  return op->infer(node, module);
}

}  // namespace mlc::graph
