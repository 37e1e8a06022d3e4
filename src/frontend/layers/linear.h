// Linear: y = x W^T + b, with W [out, in] and b [out].
#pragma once

#include <string>
#include <vector>

#include "frontend/layers/parameters.h"
#include "graph/builder.h"

namespace mlc::frontend {

struct LinearOptions {
  bool bias = false;
  bool bias_f32 = false;  // the bias is stored float32 under every scheme
  // Checkpoint modules whose ".weight" and ".bias" are concatenated along the output axis; empty = the
  // layer's own name.
  std::vector<std::string> sources;
  bool transposed = false;  // the checkpoint has the weights as [in, out], as gpt2's Conv1D
  // The checkpoint's outputs, seen as these dims, come in this order of them (SourceExpr::permute): weight
  // and bias alike.
  std::vector<int64_t> output_dims = {};
  std::vector<int> output_order = {};
  double scale = 1;   // of the checkpoint's weight
  Sharding sharding;  // of the weight; the bias follows it along the outputs, and is whole otherwise
};

// The weight `name`.weight is quantized unless the scheme spares it: final linears (`lm_head`, `embed_out`,
// ... by full name) under schemes that leave them, and routers (`...gate` with at most 256 outputs) always
// (mlc-facts 3.5). Where models have LoRA adapters, y gets what the row's adapter adds to it, but for final
// linears.
class Linear {
 public:
  Linear(ParameterList& parameters, const std::string& name, int64_t in, int64_t out,
         LinearOptions options = {});

  // x f32[rows, in] -> f32[rows, out]
  graph::Value* operator()(graph::GraphBuilder& g, graph::Value* x) const;

 private:
  graph::Value* of_adapters(graph::GraphBuilder& g, graph::Value* x) const;

  graph::Value* weight_ = nullptr;
  graph::Value* bias_ = nullptr;  // nullptr without bias
  ParameterList::LoraStacks lora_;
  std::string lora_parts_;  // widths of the outputs' parts, "" of one
};

}  // namespace mlc::frontend
