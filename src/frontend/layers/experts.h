// A mixture of experts: gated MLPs of which a router picks some for each row (arXiv:1701.06538, 2401.04088).
#pragma once

#include <cstdint>
#include <string>

#include "frontend/layers/linear.h"

namespace mlc::frontend {

struct ExpertsOptions {
  int64_t hidden = 0, inner = 0, experts = 0;
  int64_t per_token = 0;     // experts of a row: 1 to `experts`
  bool renormalize = false;  // the weights of a row's experts are made to add up to 1
  // Where the experts stand in equal groups, those a row chooses from: the ones with the best expert.
  int64_t groups = 1, kept_groups = 1;
  double scale = 1;                   // of the weights
  std::string router, gate_up, down;  // the layer's parameters, without ".weight"
  // Modules of the checkpoint: the router, what stands before an expert's number, and its three linears.
  std::string source_router, source_experts, source_gate = "gate_proj", source_up = "up_proj",
                                             source_down = "down_proj";
};

// sum over the row's experts e of weight_e * down_e(silu(gate_e(x)) * up_e(x)), with weights by the softmax
// of router(x), times `scale`. Parameters: the router [experts, hidden], never quantized; gate_up [experts, 2
// * inner, hidden]; down [experts, hidden, inner]. UserError where there are not as many experts to choose,
// groups that are not equal, or where the scheme stores linears KN, which stacks have no form of.
class Experts {
 public:
  Experts(ParameterList& parameters, const ExpertsOptions& options);
  // x f32[rows, hidden] -> f32[rows, hidden]
  graph::Value* operator()(graph::GraphBuilder& g, graph::Value* x) const;

 private:
  graph::Attributes route_;
  Linear router_;
  graph::Value *gate_up_, *down_;
};

}  // namespace mlc::frontend
