// Sets scratch_bytes: the memory that the function's kShared buffers take by the rule of
// kernel/shared_layout.h.
#pragma once

#include "kernel/ir.h"

namespace mlc::kernel {

Function place_shared(Function function);

}  // namespace mlc::kernel
