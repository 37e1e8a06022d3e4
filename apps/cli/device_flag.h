// What --device, --host and the suffix of --output mean to the compiler.
#pragma once

#include <string>
#include <vector>

#include "base/target/host.h"
#include "base/target/target.h"

namespace mlc::cli {

struct CompileTargets {
  std::vector<Target> targets;
  Host host;           // whose container holds the library
  std::string suffix;  // that the preset wants of --output, "" for any
  std::string note;    // what was asked for and does not apply, "" for nothing
};

// The variants for `compile --device`, `--host` and `--output` (mlc-facts 1.5 to 1.8). "auto" asks this
// machine for its best device; "cpu" and "llvm" compile for the CPUs that `host` names; "opencl", "vulkan",
// with
// ":generic", a number or a class of device ("opencl-adreno"), never look at this machine, and `host` chooses
// the container only. Presets ("android", "mali", "windows:adreno_x86", ...) have a host of their own. With
// host "auto" a suffix of another system means that system: ".dll" 64-bit Windows, ".dylib" macOS on Apple's
// processors, ".wasm" WebAssembly, which takes the kernels of webgpu, with those of its CPU behind them, or
// ("cpu-wasm") of its CPU alone; "auto" means webgpu there. Errors: a name that MLC LLM knows and this build
// does not compile for yet; an unknown name or triple, with the nearest.
Result<CompileTargets> compile_targets(const std::string& device, const std::string& host,
                                       const std::string& output);

}  // namespace mlc::cli
