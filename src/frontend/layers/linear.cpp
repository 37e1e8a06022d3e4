// Declares a linear's weight and bias and appends its matmul.
#include "frontend/layers/linear.h"

#include <algorithm>
#include <string_view>

#include "base/check.h"
#include "base/strings.h"
#include "frontend/functions.h"
#include "graph/ops/lora.h"

namespace mlc::frontend {
namespace {

constexpr int64_t kMaxRouterOutputs = 256;

bool is_final_linear(std::string_view name) {
  return name == "head" || name == "lm_head" || name == "lm_head.linear" || name == "embed_out";
}

SourceExpr source_of(const LinearOptions& options, const std::string& which) {
  const bool weight = which == ".weight";
  std::vector<SourceExpr> parts;
  for (const std::string& module : options.sources) {
    parts.push_back(SourceExpr::of(module + which));
    if (weight && options.transposed) parts.back() = SourceExpr::transpose(std::move(parts.back()));
  }
  SourceExpr source = SourceExpr::concat(std::move(parts));
  if (!options.output_order.empty())
    source = SourceExpr::permute(std::move(source), 0, options.output_dims, options.output_order);
  if (weight && options.scale != 1) source = SourceExpr::scale(std::move(source), options.scale);
  return source;
}

// Of fused outputs the parts are those that ranks share alike.
AdapterTarget adapter_target(const std::string& name, int64_t in, int64_t out, const LinearOptions& options) {
  AdapterTarget target{.name = name,
                       .in = in,
                       .parts = {},
                       .output_dims = options.output_dims,
                       .output_order = options.output_order,
                       .scale = options.scale};
  const std::vector<int64_t> whole = {out};
  const std::vector<int64_t>& widths = options.sources.size() > 1 ? options.sharding.segments : whole;
  internal_check(widths.size() == options.sources.size(),
                 "linear " + name + ": fused sources without their widths");
  for (size_t i = 0; i < widths.size(); ++i) target.parts.push_back({options.sources[i], widths[i]});
  return target;
}

}  // namespace

Linear::Linear(ParameterList& parameters, const std::string& name, int64_t in, int64_t out,
               LinearOptions options) {
  if (options.sources.empty()) options.sources = {name};
  Parameter weight{.name = name + ".weight",
                   .shape = {out, in},
                   .role = is_final_linear(name) ? WeightRole::kFinalLinear : WeightRole::kLinear,
                   .quantizable = !(name.ends_with("gate") && out <= kMaxRouterOutputs),
                   .source = source_of(options, ".weight"),
                   .sharding = options.sharding};
  weight_ = parameters.declare(weight);
  if (weight.role == WeightRole::kLinear) {
    AdapterTarget target = adapter_target(name, in, out, options);
    for (size_t i = 0; target.parts.size() > 1 && i < target.parts.size(); ++i)
      lora_parts_ += str(i ? "," : "", target.parts[i].columns);
    lora_ = parameters.declare_adapters(std::move(target));
  }
  if (!options.bias) return;
  weight.name = name + ".bias";
  weight.shape = {out};
  weight.role = WeightRole::kOther;
  weight.force_f32 = options.bias_f32;
  weight.source = source_of(options, ".bias");
  if (weight.sharding.axis != 0) weight.sharding = {};
  bias_ = parameters.declare(weight);
}

graph::Value* Linear::operator()(graph::GraphBuilder& g, graph::Value* x) const {
  graph::Value* added = of_adapters(g, x);  // first: an operand of a region exists before its op
  graph::Value* y = g.matmul(x, weight_);
  if (added) y = g.add(y, added);
  return bias_ ? g.bias(y, bias_) : y;
}

// What the rows' adapters add, or nullptr.
graph::Value* Linear::of_adapters(graph::GraphBuilder& g, graph::Value* x) const {
  if (!lora_.a) return nullptr;
  const auto& arguments = g.function().arguments;
  const auto adapter = std::ranges::find(arguments, kAdapterField, &graph::Value::name);
  internal_check(adapter != arguments.end(), "a linear with adapters in a function that knows none");
  graph::Attributes parts;
  if (!lora_parts_.empty()) parts[graph::kLoraParts] = lora_parts_;
  graph::Value* inner = g.op("lora_shrink", {x, lora_.a, *adapter})[0];
  return g.op("lora_expand", {inner, lora_.b, *adapter}, std::move(parts))[0];
}

}  // namespace mlc::frontend
