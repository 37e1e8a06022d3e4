// The two things a model definition yields: the parameters it needs from a checkpoint, and its graph.
//
// Both come from the same code: a model file builds its graph through layers/, each layer declares the
// parameters it reads together with the checkpoint tensors they come from.
#pragma once

#include <string>
#include <vector>

#include "formats/quant/scheme.h"
#include "formats/source_expr.h"
#include "frontend/config.h"
#include "graph/ir.h"

namespace mlc::frontend {

// How tensor-parallel ranks divide a parameter: along one axis, each segment of it by itself, rank r taking
// the r-th of equal parts of every segment.
struct Sharding {
  int axis = -1;     // 0: outputs, 1: inputs; -1: every rank holds all
  int64_t unit = 1;  // parts are multiples of this: a head is never cut
  std::vector<int64_t>
      segments;  // lengths along the axis, of fused projections; empty: the axis is one segment
};

// One MLC parameter before quantization, and how it is made from checkpoint tensors.
struct Parameter {
  std::string name;            // "model.layers.0.self_attn.qkv_proj.weight"
  std::vector<int64_t> shape;  // [out, in] for linears, [vocab, hidden] for embeddings, [n] for vectors
  WeightRole role = WeightRole::kOther;
  bool quantizable = true;
  bool force_f32 = false;  // stored float32 under every scheme (mlc-facts 5.4)
  SourceExpr source = {};  // over Hugging Face's tensors
  Sharding sharding = {};
};

// A linear that LoRA adapters may change: parameters NAME.lora_A and NAME.lora_B hold the matrices of all
// (graph/ops/lora.cpp).
struct AdapterTarget {
  struct Part {
    std::string module;  // of the checkpoint, "model.layers.0.self_attn.q_proj"
    int64_t columns = 0;
  };
  std::string name;  // of the linear, "model.layers.0.self_attn.qkv_proj"
  int64_t in = 0;
  std::vector<Part> parts;  // of the outputs
  // The checkpoint's outputs, seen as these dims, come in this order of them (SourceExpr::permute).
  std::vector<int64_t> output_dims = {};
  std::vector<int> output_order = {};
  double scale = 1;  // of the checkpoint's weight
};

struct BuiltModel {
  std::unique_ptr<graph::Module> module;
  std::vector<Parameter> parameters;           // in the order the model declares them
  std::vector<AdapterTarget> adapter_targets;  // none where BuildOptions asks for no adapters
  std::vector<std::string>
      unused_sources;  // checkpoint tensors known to be unneeded ("rotary_emb.inv_freq"); suffix match
};

// How the graph is to be built.
struct BuildOptions {
  DType kv_dtype = DType::kF32;
  bool sampling = false;  // a function that samples, for devices from which logits are dear to read
  bool trees = false;     // batch_verify takes rows that are trees
  // LoRA adapters that a loaded model may hold at once, each of this rank at most; 0: linears have none.
  int64_t adapters = 0, adapter_rank = 0;
};

// All functions of mlc-facts 5.2 for this model over a paged KV cache named "kv", parameters in `scheme`.
// Function arguments and their meaning are listed in frontend/functions.h. Throws UserError.
BuiltModel build_model(const ModelConfig& config, const QuantScheme& scheme,
                       const BuildOptions& options = {});

// How positions turn into rotation factors: host code in the runtime computes them in f64 (mlc-facts 5.6).
struct RopeSpec {
  std::string kind = "none";  // "none" (no rotation), or one of runtime/rope.h
  int64_t rotary_dim = 0;
  double theta = 10000;
  Json scaling;  // the parameters of the kind, or null

  Json to_json() const;  // the manifest's "rope"
};
// Whether it reads texts as a whole and gives hidden states instead of logits.
bool is_encoder(const ModelConfig& config);
// Whether it gives hidden states to make embeddings of, no logits: an encoder, or a decoder for that.
bool gives_embeddings(const ModelConfig& config);

// Whether it has no text of its own and proposes what a model whose last hidden states it reads may write.
bool is_draft_head(const ModelConfig& config);

RopeSpec rope_spec(const ModelConfig& config);  // of the first table
std::vector<RopeSpec> rope_specs(const ModelConfig& config);

}  // namespace mlc::frontend
