// From what the user named to a converted folder and a library that fits it, doing what is missing and keeping it under
// MLC_LLM_HOME (mlc-facts 1.16, 1.17).
#pragma once

#include <string>

#include "apps/cli/knobs.h"
#include "runtime/device.h"

namespace mlc::cli {

// The quantization of checkpoints that chat converts by itself; see docs/quality.md for why it is this one.
inline constexpr const char* kDefaultQuantization = "q4f16_1";

// How a checkpoint is converted; a converted folder ignores it.
struct Conversion {
  std::string quantization;   // "" = kDefaultQuantization
  std::string conv_template;  // "" = the checkpoint's own
};

// A folder with mlc-chat-config.json: `model` itself, or a cached conversion of the checkpoint it names.
Result<std::string> prepare_folder(const std::string& model, const Conversion& conversion);

// MLC_JIT_POLICY. Errors: an unknown value; OFF, which forbids prepare_library.
Status check_jit_policy();

// The path of a library for the config on this machine and device, compiled if MLC_JIT_POLICY allows and it is not cached.
// `opt`: as --opt.
Result<std::string> prepare_library(const std::string& folder, const Json& config, const runtime::Device& device,
                                    const std::string& opt);

}  // namespace mlc::cli
