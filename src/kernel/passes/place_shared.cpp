// Sizes a function's scratch memory.
#include "kernel/passes/place_shared.h"

#include "kernel/shared_layout.h"

namespace mlc::kernel {

Function place_shared(Function function) {
  function.scratch_bytes = shared_layout(function).bytes;
  return function;
}

}  // namespace mlc::kernel
