// The graph passes in order, each behind one wrapper that can skip, time, dump and verify it.
#pragma once

#include <functional>

#include "base/target/target.h"
#include "graph/ir.h"

namespace mlc::graph {

struct PassOptions {
  int opt_level =
      2;  // 0: floats everywhere, parameters as in the files; 2: int8 activations, repacked weights
  const Target* target = nullptr;
  int64_t fused_norm_bytes = 0;   // what fuse_norms may fuse
  std::vector<std::string> skip;  // passes left out, by name
  // Called before the first pass ("input") and after each one with the module's text; may be empty.
  std::function<void(const std::string& name, const std::string& text)> dump;
};
struct PassTime {
  std::string name;
  double seconds;
};

// In place. Throws UserError when `skip` names no pass; internal error when a pass breaks an invariant of
// verify.h.
std::vector<PassTime> run_passes(Module& module, const PassOptions& options);
std::vector<std::string> pass_names();  // in order

}  // namespace mlc::graph
