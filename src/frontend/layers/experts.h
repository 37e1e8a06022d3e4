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
  double scale = 1;   // of the weights
  bool bias = false;  // of the router and of each expert's linears
  // L > 0: (up + 1) * gate * sigmoid(alpha * gate) instead of silu(gate) * up, of gates up to L and ups
  // within -L..L.
  double limit = 0, alpha = 1;
  std::string router, gate_up, down;  // the layer's parameters, without ".weight"
  // Modules of the checkpoint: the router, what stands before an expert's number, and its three linears.
  // `stacked`: the linears of all experts as one tensor each, inputs first, with gate and up in turns:
  // gate_up_proj [experts, hidden, 2 * inner], down_proj [experts, inner, hidden]; biases as X_bias.
  bool stacked = false;
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
  graph::Value* matmul(graph::GraphBuilder& g, graph::Value* x, graph::Value* weight, graph::Value* bias,
                       graph::Value* ids) const;
  graph::Value* activate(graph::GraphBuilder& g, graph::Value* x) const;

  graph::Attributes route_;
  Linear router_;
  graph::Value *gate_up_, *down_;
  graph::Value *gate_up_bias_ = nullptr, *down_bias_ = nullptr;  // [experts, outputs]
  double limit_, alpha_;
};

}  // namespace mlc::frontend
