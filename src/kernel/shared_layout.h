// Where kShared buffers lie in a call's scratch memory: the one rule that place_shared, emitters and
// interpreters follow.
#pragma once

#include <vector>

#include "kernel/ir.h"

namespace mlc::kernel {

struct SharedPlace {
  BufferRef buffer;
  int64_t offset = 0;  // bytes, a multiple of 64
};

struct SharedLayout {
  std::vector<SharedPlace> places;  // in order of appearance
  int64_t bytes = 0;                // of the whole scratch, a multiple of 64
};

// Every kShared buffer of the function gets its own range, in the order in which the kAlloc statements stand.
SharedLayout shared_layout(const Function& function);

}  // namespace mlc::kernel
