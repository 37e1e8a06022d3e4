// Declares stacked experts and appends their ops.
#include "frontend/layers/experts.h"

#include "base/strings.h"
#include "base/user_error.h"

namespace mlc::frontend {
namespace {

graph::Attributes route_attributes(const ExpertsOptions& options) {
  const int64_t groups = options.groups, kept = options.kept_groups;
  if (groups < 1 || options.experts % groups != 0)
    throw UserError(str("n_group is ", groups, ", expected a divisor of the ", options.experts,
                        " experts of the model; the config is damaged"));
  if (kept < 1 || kept > groups)
    throw UserError(str("topk_group is ", kept, ", expected 1 to the ", groups,
                        " groups of n_group; the config is damaged"));
  if (const int64_t most = options.experts / groups * kept; options.per_token < 1 || options.per_token > most)
    throw UserError(str("num_experts_per_tok is ", options.per_token, ", expected 1 to the ", most,
                        " experts of ", kept < groups ? str(kept, " groups") : std::string("the model"),
                        "; the config is damaged"));
  graph::Attributes route = {{"k", options.per_token}, {"renormalize", options.renormalize}};
  if (kept < groups) route.insert({{"groups", groups}, {"kept_groups", kept}});
  if (options.scale != 1) route["scale"] = options.scale;
  return route;
}

// One matrix for each expert, made of the rows of these linears of it. `axis` is the one that ranks divide.
graph::Value* declare_stack(ParameterList& parameters, const ExpertsOptions& options, const std::string& name,
                            int64_t out, int64_t in, const std::vector<std::string>& linears, int axis) {
  std::vector<SourceExpr> experts;
  for (int64_t e = 0; e < options.experts; ++e) {
    std::vector<SourceExpr> parts;
    for (const std::string& linear : linears)
      parts.push_back(SourceExpr::of(str(options.source_experts, ".", e, ".", linear, ".weight")));
    experts.push_back(SourceExpr::concat(std::move(parts)));
  }
  Parameter stack{.name = name + ".weight", .shape = {options.experts, out, in}, .role = WeightRole::kLinear};
  stack.source = SourceExpr::stack(std::move(experts));
  stack.sharding = {.axis = axis, .segments = {}};
  if (linears.size() == 2) stack.sharding.segments = {out / 2, out / 2};
  if (format_of(stack, parameters.scheme()).transposed)
    throw UserError(str("quantization ", parameters.scheme().name, ": ", stack.name,
                        " would be stored KN, and stacks of experts have no such form, in MLC LLM neither; "
                        "use q4f16_1 or q3f16_1"));
  return parameters.declare(std::move(stack));
}

}  // namespace

Experts::Experts(ParameterList& parameters, const ExpertsOptions& options)
    : route_(route_attributes(options)),
      router_(parameters, options.router, options.hidden, options.experts,
              {.sources = {options.source_router}}),
      gate_up_(declare_stack(parameters, options, options.gate_up, 2 * options.inner, options.hidden,
                             {options.source_gate, options.source_up}, 1)),
      down_(declare_stack(parameters, options, options.down, options.hidden, options.inner,
                          {options.source_down}, 2)) {}

graph::Value* Experts::operator()(graph::GraphBuilder& g, graph::Value* x) const {
  std::vector<graph::Value*> route = g.op("route", {router_(g, x)}, route_);
  graph::Value* inner = g.gated(g.op("expert_matmul", {x, gate_up_, route[0]})[0], "silu");
  return g.op("expert_sum", {g.op("expert_matmul", {inner, down_, route[0]})[0], route[1]})[0];
}

}  // namespace mlc::frontend
