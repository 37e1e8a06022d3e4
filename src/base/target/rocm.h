// AMD's GPUs by architecture, as LLVM and ROCm name it.
#pragma once

#include <vector>

namespace mlc {

struct RocmArchitecture {
  const char* name;  // "gfx1100"
  int lanes;         // of a wavefront
};

// The architectures that kernels are made for, oldest first.
const std::vector<RocmArchitecture>& rocm_architectures();

}  // namespace mlc
