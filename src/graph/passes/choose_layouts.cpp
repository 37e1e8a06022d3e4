// Physical layouts of parameters.
#include "graph/passes/choose_layouts.h"

#include <unordered_set>

#include "graph/ops/registry.h"

namespace mlc::graph {

void choose_layouts(Module& module, const Target& target) {
  std::unordered_set<const Value*> multiplied;
  for (const auto& f : module.functions)
    for (const auto& node : f->nodes)
      if (is_matmul(*node)) multiplied.insert(node->inputs[1]);
  // One vector lane per weight row: a tile is as high as the widest vector has f32 lanes.
  const std::string tiles = row_tiles_layout(target.f32_lanes() >= 16 ? 16 : 8);
  for (const auto& p : module.parameters) {
    bool quantized = p->type.kind == TensorType::Kind::kGroup;
    if (target.is_gpu())
      p->type.layout = quantized ? kLaneLayout : kPackedLayout;
    else
      p->type.layout = quantized && (multiplied.count(p.get()) || !p->type.format.is_for_kernels())
                           ? tiles
                           : kPackedLayout;
  }
}

}  // namespace mlc::graph
