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
Value* GraphBuilder::attention(const std::string& state, int64_t layer, const AttentionInputs& in,
                               const AttentionOptions& options) {
  std::vector<Value*> inputs = {in.q, in.row_sequence, in.limits, in.page_indptr, in.page_ids};
  Attributes attributes = {{"layer", layer}, {"heads", options.heads}, {"scale", options.scale}};
  if (options.window > 0) attributes["window"] = options.window;
  RegionBuilder scores;
  Ref score = scores.x();
  if (const double cap = options.softcap; cap > 0)
    score = scores.call("tanh", score * scores.constant(1 / cap)) * scores.constant(cap);
  if (options.alibi > 0) {
    attributes["alibi"] = options.alibi;
    score = score + scores.bias();
  }
  const bool plain = options.softcap <= 0 && options.alibi <= 0;
  if (in.rolling.skip_begin) inputs.insert(inputs.end(), {in.rolling.skip_begin, in.rolling.skip_count});
  if (in.rolling.key_factors) {
    inputs.push_back(in.rolling.key_factors);
    attributes["rotary_dim"] = in.rolling.key_factors->type.shape[1].constant();
    if (in.rolling.interleaved) attributes["interleaved"] = true;
  }
  if (in.mask) {
    inputs.push_back(in.mask);
    attributes["masked"] = true;
  }
  if (in.sinks) {
    inputs.push_back(in.sinks);
    attributes["sinks"] = true;
  }
  return op("attention", std::move(inputs), std::move(attributes), state,
            plain ? Region() : scores.result(score))[0];
}

}  // namespace mlc::graph
