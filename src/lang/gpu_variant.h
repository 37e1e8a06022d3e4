// The kernels of a GPU variant as a library holds them (formats/library.h, MlcGpuKernel).
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/target/target.h"
#include "kernel/ir.h"

namespace mlc::lang {

// Whether this build writes the language of that Target::kind.
bool has_gpu_language(const std::string& kind);

// The blob of a kernel (a device function).
std::string emit_gpu_kernel(const kernel::Function& kernel, const Target& target);

// What the variant's header says it needs of a device beside Target::required, from its kernels' blobs:
// {"group_size", "shared_bytes"}.
Json gpu_limits(const std::vector<std::string>& blobs, const Target& target);

// The code of all kernels for people: the text, or the disassembly of a language without one.
std::string gpu_code_dump(const std::vector<std::string>& blobs, const Target& target);

}  // namespace mlc::lang
