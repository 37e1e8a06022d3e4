// From what the user named to a converted folder and a library that fits it, doing what is missing and
// keeping it under MLC_LLM_HOME (mlc-facts 1.16, 1.17).
#pragma once

#include <functional>
#include <string>

#include "apps/cli/checkpoint.h"
#include "base/json.h"
#include "runtime/device.h"

namespace mlc::cli {

// The quantization of checkpoints that chat converts by itself; see docs/quality.md for why it is this one.
inline constexpr const char* kDefaultQuantization = "q4f16_1";

// A folder with mlc-chat-config.json.
struct PreparedFolder {
  std::string path;
  bool converted = false;  // a conversion of the checkpoint that the user named, kept by us
};

// The folder that `flags.source.config` names, or a cached conversion of the checkpoint that it names;
// `flags` say how that is converted ("" for the quantization: kDefaultQuantization). Tokenizer and chat
// template are looked at before the weights; what is wrong with them names the checkpoint. Errors: also flags
// of a conversion for a folder that is converted already.
Result<PreparedFolder> prepare_folder(const CheckpointFlags& flags);

// LoRA adapters that a library holds, and their largest rank; 0: none.
struct LoraRoom {
  int64_t adapters = 0, rank = 0;
};

// Changes whenever the file does: absolute path, size and modification time.
std::string file_stamp(const std::string& path);
// Of a folder, its files; of a file, it and what is read beside it: the other parts of a checkpoint, a
// tokenizer.
std::string checkpoint_stamp(const std::string& model);

// MLC_JIT_POLICY. Errors: an unknown value; OFF, which forbids prepare_library.
Status check_jit_policy();

// The path of a library for the config on this machine and device, compiled if MLC_JIT_POLICY allows and it
// is not cached. `name`: what the user calls the model; starts errors and messages. `before_compiling` is
// asked first where it must be compiled: an error of it ends the work.
Result<std::string> prepare_library(const std::string& name, const Json& config,
                                    const runtime::Device& device, int opt_level, const LoraRoom& room,
                                    const std::function<Status()>& before_compiling);

}  // namespace mlc::cli
