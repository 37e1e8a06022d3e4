// What a GPU has, held against what a library's variant wants.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"

namespace mlc::runtime {

struct GpuAbilities {
  std::string kind;                   // "vulkan"
  std::vector<std::string> features;  // in the names of Target::required
  int64_t group_size = 0;             // most threads of a group
  int64_t shared_bytes = 0;           // most memory of a group
};

// "" when every entry of the variant header's `requires` and `limits` (formats/library.h) is met, else the
// first that is not.
std::string missing_gpu_requirement(const GpuAbilities& abilities, const Json& header);

}  // namespace mlc::runtime
