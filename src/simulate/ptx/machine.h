// Runs entries of a PTX module: groups one after another, the warps of a group in turns between barriers, the
// lanes of a warp together as far as they agree on what comes next.
//
// What a GPU would do silently wrong is a Fault: an access outside of live memory or not aligned, a store
// that another thread of the group meets without a barrier between, a barrier or shuffle that not all lanes
// reach, a parameter that was not passed.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "simulate/ptx/module.h"

namespace mlc::ptx {

// The memory that kernels may touch: begin -> end, host addresses. Not copied.
using LiveMemory = std::map<uint64_t, uint64_t>;

struct Counts {
  int64_t instructions = 0;  // of warps
  int64_t barriers = 0;      // of groups
};

struct GridCall {
  int64_t groups = 0;
  std::vector<uint8_t> parameters;  // entry.parameter_bytes, in its layout
};

// Throws Fault that starts with the kernel's name.
void run(const Entry& entry, const GridCall& call, const LiveMemory& memory, Counts& counts);

}  // namespace mlc::ptx
