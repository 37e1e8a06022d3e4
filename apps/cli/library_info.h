// What a model library says of itself.
#pragma once

#include <string>

namespace mlc::cli {

// Prints the manifest of a library file in short; `tensors` lists every parameter. No code of it is loaded.
// Throws UserError: not a model library, damaged, another ABI version.
void print_library(const std::string& path, bool tensors);

}  // namespace mlc::cli
