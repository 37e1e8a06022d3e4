// quantize_q8: f32 [rows, K] -> q8g32 [rows, K], or what `output` names; the rule stands at quantize_q8 in
// ops/math.h. to_tiles: f32 [rows, K] -> bf16 tiles [rows, K], rounded to nearest even.
#include "graph/ops/check.h"
#include "graph/ops/math.h"

namespace mlc::graph {

std::vector<OpInfo> quantize_ops() {
  using Inputs = std::vector<const HostTensor*>;
  auto store = [](const Node& node, const Inputs& in, const Inputs&, InterpretContext&) {
    return std::vector{store_as(node.outputs[0]->type, *in[0])};
  };
  return {{.name = "quantize_q8",
           .min_inputs = 1,
           .max_inputs = 1,
           .infer =
               [](const Node& node, const Module&) {
                 return std::vector{q8_attribute(node, activation_operand(node, 0).shape)};
               },
           .interpret = store},
          {.name = "to_tiles",
           .min_inputs = 1,
           .max_inputs = 1,
           .infer =
               [](const Node& node, const Module&) {
                 return std::vector{TensorType::tiles(activation_operand(node, 0).shape)};
               },
           .interpret = store}};
}

}  // namespace mlc::graph
