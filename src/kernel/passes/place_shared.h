// Gives a function's scratch_bytes: the kShared buffers of one grid iteration, each aligned to 64 bytes, one after the
// other in order of appearance (the emitter places them by the same rule).
#pragma once

#include "kernel/ir.h"

namespace mlc::kernel {

Function place_shared(Function function);

}  // namespace mlc::kernel
