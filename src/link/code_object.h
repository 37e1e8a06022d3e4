// Kernels of GPUs that are linked: AMD's code objects.
#pragma once

#include <string>

#include "base/status.h"

namespace mlc::link {

// A blob (formats/library.h, gpu_kernel_blob) as drivers load its code: of AMDGPU the relocatable file
// becomes a shared object, which is what code objects are; of every other language the blob as it is. Error:
// the linker's first line. Thread-safe (links wait for each other); leaves no files.
Result<std::string> finish_gpu_kernel(std::string blob);

}  // namespace mlc::link
