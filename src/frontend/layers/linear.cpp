// Declares a linear's weight and bias and appends its matmul.
#include "frontend/layers/linear.h"

#include <string_view>

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
  graph::Value* y = g.matmul(x, weight_);
  return bias_ ? g.bias(y, bias_) : y;
}

}  // namespace mlc::frontend
