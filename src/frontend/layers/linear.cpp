// Declares a linear's weight and bias and appends its matmul.
#include "frontend/layers/linear.h"

#include <string_view>

namespace mlc::frontend {
namespace {

constexpr int64_t kMaxRouterOutputs = 256;

bool is_final_linear(std::string_view name) {
  return name == "head" || name == "lm_head" || name == "lm_head.linear" || name == "embed_out";
}

std::vector<std::string> with_suffix(std::vector<std::string> names, std::string_view suffix) {
  for (std::string& name : names) name += suffix;
  return names;
}

}  // namespace

Linear::Linear(ParameterList& parameters, const std::string& name, int64_t in, int64_t out,
               LinearOptions options) {
  if (options.sources.empty()) options.sources = {name};
  Parameter weight{.name = name + ".weight",
                   .shape = {out, in},
                   .role = is_final_linear(name) ? WeightRole::kFinalLinear : WeightRole::kLinear,
                   .quantizable = !(name.ends_with("gate") && out <= kMaxRouterOutputs),
                   .sources = with_suffix(options.sources, ".weight"),
                   .transform = options.transform,
                   .heads = options.heads,
                   .sharding = options.sharding};
  weight_ = parameters.declare(weight);
  if (!options.bias) return;
  weight.name = name + ".bias";
  weight.shape = {out};
  weight.role = WeightRole::kOther;
  weight.force_f32 = options.bias_f32;
  weight.sources = with_suffix(options.sources, ".bias");
  if (weight.sharding.axis != 0) weight.sharding = {};
  bias_ = parameters.declare(weight);
}

graph::Value* Linear::operator()(graph::GraphBuilder& g, graph::Value* x) const {
  graph::Value* y = g.matmul(x, weight_);
  return bias_ ? g.bias(y, bias_) : y;
}

}  // namespace mlc::frontend
