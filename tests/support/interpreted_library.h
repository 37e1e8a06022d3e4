// A model compiled for the interpreter device, in this process.
#pragma once

#include <memory>

#include "simulate/interpreter_device.h"
#include "support/compiled_model.h"

namespace mlc::testing {

// The kernels are those that the code of options.targets[0] is made from.
inline std::unique_ptr<InterpretedLibrary> interpreted(const Json& config, CompileOptions options) {
  options.targets.resize(1);
  options.stop_after = "kernel";
  CompiledModel compiled = must(compile_model(config, "mlc-chat-config.json", options));
  return std::make_unique<InterpretedLibrary>(compiled.manifest, std::move(compiled.first_variant));
}

}  // namespace mlc::testing
