// The whole compiler as one function with named phases: model config -> graph -> kernels -> machine code ->
// library.
//
// Phases, in order: frontend (config -> graph), graph (its passes), plan (graph -> calls, and each distinct
// op to loops), kernel (passes over the loops), lang (machine code or a GPU's language), link (one file).
// `stop_after` ends after one of them; `dump_directory` receives numbered text after each pass.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "base/target/target.h"
#include "plan/build_plan.h"

namespace mlc {

struct CompileOptions {
  // From --opt. O0 keeps floats everywhere (the exact path); O1..O3 use int8 activations for quantized
  // weights.
  int opt_level = 2;
  // The variants of the library, best first (targets_for_host, targets_for_device). Those of another kind of
  // device than the first one's carry a manifest of their own in their headers.
  std::vector<Target> targets;
  bool tree_verify = false;  // batch_verify takes trees of proposed tokens (serve's spec_tree_width > 1)
  std::string container = "auto";  // GPUs: the triple whose container holds the library; auto: this machine's
  std::string soname = "model.so";
  bool static_library = false;    // an archive of objects (link/link.h) instead of a shared object
  bool ar_archive = false;        // of them in ar's format, not in tar's
  std::string system_lib_prefix;  // of a static library's symbols
  // LoRA adapters that a loaded model can hold, and the largest rank of one; 0: none, and then nothing of
  // the library differs.
  int64_t lora_adapters = 0, lora_rank = 0;
  std::string dump_directory;  // --debug-dump; "" = none
  std::string stop_after;      // a phase name; "" = link
  std::vector<std::string> skip_passes;
};

struct CompiledModel {
  std::string library;  // the file's bytes; empty when stopped before link
  Json manifest;
  struct Phase {
    std::string name;
    double seconds = 0;
  };
  std::vector<Phase> phases;
  int64_t kernels = 0;      // of the first variant
  BuiltPlan first_variant;  // its plan and kernel IR, only when stopped after `kernel`
};

// --opt: "O0".."O3", or knobs "flashinfer=1;cudagraph=0" (mlc-facts 1.4; they change nothing on a CPU).
// Returns the level.
Result<int> parse_opt(const std::string& text);

// `mlc_config` is a whole mlc-chat-config.json (its file is named `what` in errors). Threads: concurrent
// calls are safe.
Result<CompiledModel> compile_model(const Json& mlc_config, const std::string& what,
                                    const CompileOptions& options);

}  // namespace mlc
