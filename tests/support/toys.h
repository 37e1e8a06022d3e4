// The toy models of tests/data/models, by folder: every test of a model runs over all of them.
#pragma once

#include <string>
#include <vector>

#include "base/file.h"

namespace mlc::testing {

// A new model adds its toy here.
inline const std::vector<std::string> kToys = {
    "bert", "gpt2",         "gpt_neox",  "llama",      "llama3_tied", "llama_dynamic",
    "llama_linear", "llama_odd", "llama_yarn", "mistral",     "qwen2",
};

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
