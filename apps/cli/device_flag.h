// What --device means to the compiler.
#pragma once

#include <string>
#include <vector>

#include "base/target/target.h"

namespace mlc::cli {

struct CompileTargets {
  std::vector<Target> targets;
  std::string container;  // CompileOptions::container
};

// The variants for `compile --device` and `--host` (mlc-facts 1.7, 1.8). "auto" asks this machine for its
// best device; "cpu" and "llvm" compile for the CPUs that `host` names; "opencl", "vulkan", with ":generic",
// a number or a class of device
// ("opencl-adreno"), never look at this machine, and `host` chooses the container only. Errors: a name that
// MLC LLM knows and this build does not compile for yet; an unknown name, with the nearest.
Result<CompileTargets> compile_targets(const std::string& device, const std::string& host);

}  // namespace mlc::cli
