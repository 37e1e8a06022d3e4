// mlc_llm bench --count: what a model's GPU kernels do to memory, counted without a GPU.
#pragma once

#include <string>

#include "base/status.h"

namespace mlc::cli {

// Prints the table of simulate/count_model.h for MODEL, a folder with mlc-chat-config.json, and the first
// variant of `device`
// ("auto": "vulkan-nvidia"), for a prefill of `rows` rows and one decode step. Errors: one sentence that
// names the flag or file.
Status print_counts(const std::string& model, const std::string& device, int64_t rows);

}  // namespace mlc::cli
