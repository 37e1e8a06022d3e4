// The manifest of a model library: MLC's `_metadata` (mlc-facts 7.2) and what our runtime needs beside it.
#pragma once

#include "base/json.h"
#include "formats/plan.h"
#include "frontend/config.h"
#include "frontend/model.h"

namespace mlc {

// What is not of the model: "library" of the manifest, and the architecture of its container.
struct LibraryFacts {
  std::string kind;  // of device, Target::kind
  std::string architecture;
  int opt_level = 0;
  std::vector<std::string> variants;
  int64_t adapters = 0, adapter_rank = 0;  // LoRA adapters it can hold
  std::vector<frontend::AdapterTarget> adapter_targets;
};

// Added to MLC's keys: "architecture", "library" {abi_version, kind, opt, variants}, "attention" (causal, or
// bidirectional of encoders), "rope" (the tables of runtime/rope.h), "step_inputs" (the fields of a step's
// packed inputs and their extents), "vocab_size", "hidden_size", "lora" (where it
// holds adapters: how many, of which rank, and "targets", linears with their parts), "memory_usage"
// {function: the most arena bytes of a step within the limits}, "functions" {name: {arguments, results}} with
// the named inputs and their symbolic shapes, "kv_cache" with dtype, page_size and bytes of one page of one
// layer.
Json make_manifest(const Json& mlc_config, const frontend::ModelConfig& config, const QuantScheme& scheme,
                   const Plan& plan, const LibraryFacts& library);

}  // namespace mlc
