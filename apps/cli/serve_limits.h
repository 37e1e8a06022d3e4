// How many requests and tokens a served model takes: --mode and the engine's keys of --overrides
// (mlc-facts 8.2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/cli/knobs.h"
#include "runtime/model.h"
#include "serve/state.h"

namespace mlc::cli {

struct ServeLimits {
  std::string mode = "local";  // local, interactive or server
  std::optional<int64_t> max_num_sequence, max_total_seq_length;
  std::optional<int64_t> kept_sequences;  // of finished requests; -1: any number
  double gpu_memory_utilization = 0.85;   // of the device's memory, for all models together
  bool prefix_cache = true;
  serve::SpeculativeMode speculative_mode = serve::SpeculativeMode::kDisable;
  // Proposals for an answer: of its text at most so many, of a draft model or head exactly; 0: as it pays.
  int64_t draft_length = 0, tree_width = 1;
  int64_t draft_heads = 0;  // with kMedusa: tokens in a row that the heads propose
  int64_t memory_used = 0;  // bytes, by models loaded before
  int64_t memory_part = 1;  // tokens may take one such part of what memory is left
};

// A value of --speculative-mode; errors start with `what`.
Result<serve::SpeculativeMode> parse_speculative_mode(const std::string& text, const std::string& what);

// The keys of serve's --overrides (mlc-facts 1.11), those of the model and its library too.
std::vector<std::string> serve_override_keys();
// Takes the engine's keys out of --overrides into `limits`; what is left is for the model. Errors: an unknown
// key, a value out of range, one whose function is not built.
Result<std::string> take_engine_keys(const std::string& overrides, ServeLimits& limits);

// `given`: what config and flags say of context and chunk. local: 4 requests, 8192 tokens in all;
// interactive: one; server: as many as the library was compiled for and the memory holds. A context larger
// than all tokens together is cut to them. Errors: not enough memory for one page of tokens.
Result<runtime::ModelLimits> infer_limits(const ServeLimits& limits, const runtime::Module& module,
                                          const runtime::Device& device, runtime::ModelLimits given);
serve::EngineOptions engine_options(const ServeLimits& limits, int64_t max_sequences);

}  // namespace mlc::cli
