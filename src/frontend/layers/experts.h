// A mixture of experts: gated MLPs of which a router picks some for each row (arXiv:1701.06538, 2401.04088).
#pragma once

#include <cstdint>
#include <string>

#include "frontend/layers/linear.h"

namespace mlc::frontend {

struct ExpertsOptions {
  int64_t hidden = 0, inner = 0, experts = 0;
  int64_t per_token = 0;              // experts of a row: 1 to `experts`
  bool renormalize = false;           // the weights of a row's experts are made to add up to 1
  std::string router, gate_up, down;  // the layer's parameters, without ".weight"
  // Modules of the checkpoint: the router, what stands before an expert's number, and its three linears.
  std::string source_router, source_experts, source_gate = "gate_proj", source_up = "up_proj",
                                             source_down = "down_proj";
};

// sum over the row's experts e of weight_e * down_e(silu(gate_e(x)) * up_e(x)), with weights by the softmax
// of router(x). Parameters: the router [experts, hidden], never quantized; gate_up [experts, 2 * inner,
// hidden]; down [experts, hidden, inner]. UserError where per_token is no number of experts, or the scheme
// stores linears KN, which stacks have no form of.
class Experts {
 public:
  Experts(ParameterList& parameters, const ExpertsOptions& options);
  // x f32[rows, hidden] -> f32[rows, hidden]
  graph::Value* operator()(graph::GraphBuilder& g, graph::Value* x) const;

 private:
  int64_t per_token_;
  bool renormalize_;
  Linear router_;
  graph::Value *gate_up_, *down_;
};

}  // namespace mlc::frontend
