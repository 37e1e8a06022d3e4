// The manifest of a model library: MLC's `_metadata` (mlc-facts 7.2) and what our runtime needs beside it.
#pragma once

#include "base/json.h"
#include "formats/plan.h"
#include "frontend/config.h"
#include "frontend/model.h"

namespace mlc {

// Added to MLC's keys: "library" {abi_version, opt, architecture, variants}, "rope" (runtime/rope.h), "vocab_size",
// "hidden_size", "memory_usage" {function: arena bytes at the limits}, "functions" {name: {arguments, results}} with the
// named inputs and their symbolic shapes, "kv_cache" with dtype, page_size and bytes of one page of one layer.
Json make_manifest(const Json& mlc_config, const frontend::ModelConfig& config, const QuantScheme& scheme, const Plan& plan,
                   const std::vector<std::string>& variants, const std::string& architecture, int opt_level);

}  // namespace mlc
