// The toy models of tests/data/models, by folder: every test of a model runs over all of them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/file.h"

namespace mlc::testing {

// A new model adds its toy here.
inline const std::vector<std::string> kToys = {
    // clang-format off
    // keep-sorted start
    "bert",
    "bloom",
    "deepseek_v2",
    "deepseek_v2_lite",
    "gemma",
    "gemma2",
    "gemma3_text",
    "gpt2",
    "gpt_neox",
    "gpt_oss",
    "granite",
    "llama",
    "llama3_tied",
    "llama_dynamic",
    "llama_linear",
    "llama_odd",
    "llama_yarn",
    "mistral",
    "mixtral",
    "phi",
    "phi3",
    "phi3_longrope",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "rwkv",
    "rwkv5",
    "smollm3",
    "starcoder2",
    // keep-sorted end
    // clang-format on
};

// Checkpoints whose weights are quantized already, with the only quantization that takes them.
inline const std::vector<std::pair<std::string, std::string>> kPackedToys = {{"llama_awq", "q4f16_autoawq"}};

inline std::string toy_file(const std::string& toy, const std::string& name) {
  return std::string(MLC_SOURCE_DIR) + "/tests/data/models/" + toy + "/" + name;
}

inline std::vector<std::string> toys_with(const std::string& file) {
  std::vector<std::string> names;
  for (const std::string& toy : kToys)
    if (file_exists(toy_file(toy, file))) names.push_back(toy);
  return names;
}

// The toys that have weights and reference logits (llama_odd's logits overflow by design).
inline std::vector<std::string> toys_with_logits() { return toys_with("logits_fp32.npy"); }

}  // namespace mlc::testing
