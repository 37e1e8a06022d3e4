// NVIDIA's GPUs by compute capability: what a multiprocessor has, and the variants made for them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/target/target.h"

namespace mlc {

struct CudaArchitecture {
  int number = 0;            // 80 = compute capability 8.0, sm_80
  int threads = 0;           // of a multiprocessor at a time
  int groups = 0;            // likewise
  int64_t shared_bytes = 0;  // of a multiprocessor, for the groups on it
};

inline constexpr int64_t kCudaRegisters = 65536;  // of a multiprocessor

// The architectures that kernels are made and checked for, oldest first.
const std::vector<CudaArchitecture>& cuda_architectures();

// "cuda" = PTX for every GPU since sm_75, in three levels; "cuda-sm86", ... = cut for one, and the oldest
// level for all others. Empty: no such name.
std::vector<Target> cuda_targets(const std::string& device);

}  // namespace mlc
