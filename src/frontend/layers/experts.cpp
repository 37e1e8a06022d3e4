// Declares stacked experts and appends their ops.
#include "frontend/layers/experts.h"

#include "base/strings.h"
#include "base/user_error.h"

namespace mlc::frontend {
namespace {

constexpr double kNoLimit = 3e38;  // every finite f32 but the last percent

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

SourceExpr source_of_each(const ExpertsOptions& options, const std::vector<std::string>& linears) {
  std::vector<SourceExpr> experts;
  for (int64_t e = 0; e < options.experts; ++e) {
    std::vector<SourceExpr> parts;
    for (const std::string& linear : linears)
      parts.push_back(SourceExpr::of(str(options.source_experts, ".", e, ".", linear, ".weight")));
    experts.push_back(SourceExpr::concat(std::move(parts)));
  }
  return SourceExpr::stack(std::move(experts));
}

SourceExpr stacked_source(const ExpertsOptions& options, bool gate_up, const std::string& ending) {
  return SourceExpr::of(str(options.source_experts, gate_up ? ".gate_up_proj" : ".down_proj", ending));
}

// Of `outputs` along axis 1, gates and ups in turns: first all gates.
SourceExpr in_turns(SourceExpr source, int64_t outputs) {
  return SourceExpr::permute(std::move(source), 1, {outputs / 2, 2}, {1, 0});
}

graph::Value* declare_bias(ParameterList& parameters, const ExpertsOptions& options, const std::string& name,
                           int64_t outputs, bool gate_up) {
  if (!options.bias) return nullptr;
  Parameter bias{.name = name + ".bias", .shape = {options.experts, outputs}};
  bias.source = stacked_source(options, gate_up, "_bias");
  if (gate_up) bias.source = in_turns(std::move(bias.source), outputs);
  if (gate_up) bias.sharding = {.axis = 1, .segments = {outputs / 2, outputs / 2}};
  return parameters.declare(std::move(bias));
}

// One matrix for each expert, made of the rows of these linears of it. `axis` is the one that ranks divide.
graph::Value* declare_stack(ParameterList& parameters, const ExpertsOptions& options, const std::string& name,
                            int64_t out, int64_t in, const std::vector<std::string>& linears, int axis) {
  Parameter stack{.name = name + ".weight", .shape = {options.experts, out, in}, .role = WeightRole::kLinear};
  stack.source = options.stacked ? SourceExpr::transpose(stacked_source(options, linears.size() == 2, ""))
                                 : source_of_each(options, linears);
  if (options.stacked && linears.size() == 2) stack.source = in_turns(std::move(stack.source), out);
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
              {.bias = options.bias, .sources = {options.source_router}}),
      gate_up_(declare_stack(parameters, options, options.gate_up, 2 * options.inner, options.hidden,
                             {options.source_gate, options.source_up}, 1)),
      down_(declare_stack(parameters, options, options.down, options.hidden, options.inner,
                          {options.source_down}, 2)),
      gate_up_bias_(declare_bias(parameters, options, options.gate_up, 2 * options.inner, true)),
      down_bias_(declare_bias(parameters, options, options.down, options.hidden, false)),
      limit_(options.limit),
      alpha_(options.alpha) {}

graph::Value* Experts::matmul(graph::GraphBuilder& g, graph::Value* x, graph::Value* weight,
                              graph::Value* bias, graph::Value* ids) const {
  graph::Value* y = g.op("expert_matmul", {x, weight, ids})[0];
  return bias ? g.add(y, g.take(bias, ids)) : y;
}

graph::Value* Experts::activate(graph::GraphBuilder& g, graph::Value* x) const {
  if (limit_ == 0) return g.gated(x, "silu");
  return g.map(x, [&](graph::RegionBuilder& r) {
    auto gate = r.clamp(r.gate(), -kNoLimit, limit_), up = r.clamp(r.up(), -limit_, limit_);
    return gate * r.call("sigmoid", gate * r.constant(alpha_)) * (up + r.constant(1));
  });
}

graph::Value* Experts::operator()(graph::GraphBuilder& g, graph::Value* x) const {
  std::vector<graph::Value*> route = g.op("route", {router_(g, x)}, route_);
  graph::Value* inner = activate(g, matmul(g, x, gate_up_, gate_up_bias_, route[0]));
  return g.op("expert_sum", {matmul(g, inner, down_, down_bias_, route[0]), route[1]})[0];
}

}  // namespace mlc::frontend
