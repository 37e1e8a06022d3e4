// GraphBuilder: each call is one node, typed by the registry.
#include "graph/builder.h"

#include <stdexcept>

#include "base/check.h"
#include "base/strings.h"
#include "graph/ops/registry.h"

namespace mlc::graph {

Value* GraphBuilder::parameter(const std::string& name, const TensorType& type) {
  if (Value* known = module_.find_parameter(name)) {
    internal_check(known->type == type, "parameter @", name, " is ", known->type.text(),
                   " and cannot also be ", type.text());
    return known;
  }
  module_.parameters.push_back(std::make_unique<Value>(Value{Value::Kind::kParameter, name, type, nullptr}));
  return module_.parameters.back().get();
}

std::vector<Value*> GraphBuilder::op(const std::string& name, std::vector<Value*> inputs,
                                     Attributes attributes, const std::string& state, Region region) {
  auto node = std::make_unique<Node>();
  node->op = name;
  node->inputs = std::move(inputs);
  node->attributes = std::move(attributes);
  node->state = state;
  node->region = std::move(region);
  try {
    for (TensorType& type : infer_types(*node, module_))
      node->outputs.push_back(function_.add_value(std::move(type), node.get()));
  } catch (const std::invalid_argument& e) {
    internal_error(str("function ", function_.name, ", op ", name, ": ", e.what()));
  }
  function_.nodes.push_back(std::move(node));
  return function_.nodes.back()->outputs;
}

Value* GraphBuilder::take(Value* table, Value* indices) { return op("take", {table, indices})[0]; }
Value* GraphBuilder::matmul(Value* x, Value* weight) { return op("matmul", {x, weight})[0]; }
Value* GraphBuilder::rms_norm(Value* x, Value* weight, double eps) {
  return op("rms_norm", {x, weight}, {{"eps", eps}})[0];
}
Value* GraphBuilder::layer_norm(Value* x, Value* weight, Value* bias, double eps) {
  std::vector<Value*> inputs = {x, weight};
  if (bias) inputs.push_back(bias);
  return op("layer_norm", std::move(inputs), {{"eps", eps}})[0];
}
Value* GraphBuilder::map(Value* x, const std::function<Ref(RegionBuilder&)>& region) {
  RegionBuilder r;
  Ref last = region(r);
  return op("map", {x}, {}, "", r.result(last))[0];
}
Value* GraphBuilder::add(Value* a, Value* b) {
  return map(a, [&](RegionBuilder& r) { return r.x() + r.operand(b); });
}
Value* GraphBuilder::mul(Value* a, Value* b) {
  return map(a, [&](RegionBuilder& r) { return r.x() * r.operand(b); });
}
Value* GraphBuilder::bias(Value* x, Value* b) { return add(x, b); }
Value* GraphBuilder::scale(Value* x, double factor) {
  return map(x, [&](RegionBuilder& r) { return r.x() * r.constant(factor); });
}
Value* GraphBuilder::activation(Value* x, const std::string& function) {
  return map(x, [&](RegionBuilder& r) { return r.call(function, r.x()); });
}
Value* GraphBuilder::gated(Value* x, const std::string& function) {
  return map(x, [&](RegionBuilder& r) { return r.call(function, r.gate()) * r.up(); });
}
Value* GraphBuilder::slice(Value* x, int64_t begin, int64_t end) {
  return op("slice", {x}, {{"begin", begin}, {"end", end}})[0];
}
Value* GraphBuilder::rope(Value* x, Value* factors, int64_t head_dim, int64_t rotary_dim, bool interleaved) {
  Attributes attributes = {{"head_dim", head_dim}, {"rotary_dim", rotary_dim}};
  if (interleaved) attributes["interleaved"] = true;
  return op("rope", {x, factors}, std::move(attributes))[0];
}
void GraphBuilder::kv_append(const std::string& state, int64_t layer, Value* k, Value* v, Value* row_slots) {
  op("kv_append", {k, v, row_slots}, {{"layer", layer}}, state);
}
Value* GraphBuilder::attention(const std::string& state, int64_t layer, Value* q, Value* row_sequence,
                               Value* limits, Value* page_indptr, Value* page_ids, int64_t heads,
                               double scale, int64_t window, const RollingWindow& rolling, double softcap,
                               Value* sinks, double alibi) {
  std::vector<Value*> inputs = {q, row_sequence, limits, page_indptr, page_ids};
  Attributes attributes = {{"layer", layer}, {"heads", heads}, {"scale", scale}};
  if (window > 0) attributes["window"] = window;
  if (softcap > 0) attributes["softcap"] = softcap;
  if (alibi > 0) attributes["alibi"] = alibi;
  if (rolling.skip_begin) inputs.insert(inputs.end(), {rolling.skip_begin, rolling.skip_count});
  if (rolling.key_factors) {
    inputs.push_back(rolling.key_factors);
    attributes["rotary_dim"] = rolling.key_factors->type.shape[1].constant();
    if (rolling.interleaved) attributes["interleaved"] = true;
  }
  if (sinks) {
    inputs.push_back(sinks);
    attributes["sinks"] = true;
  }
  return op("attention", std::move(inputs), std::move(attributes), state)[0];
}

}  // namespace mlc::graph
