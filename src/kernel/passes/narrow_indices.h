// Makes all i64 arithmetic i32, for devices without i64, and divisions by powers of two shifts and masks.
// Device functions have dims, indices and element counts below 2^31 by contract (ir.h), so no result changes.
//
//   before:  let %row = (%group // 18)        %y[((%row * 64) + (%thread % 16))] = ...        (all i64)
//   after:   let %row = (%group // 18:i32)    %y[((%row * 64:i32) + (%thread & 15:i32))] = ... (all i32)
//
// Does nothing to functions that are not thread-bound. Internal error on a constant that does not fit.
#pragma once

#include "kernel/ir.h"

namespace mlc::kernel {

Function narrow_indices(Function function);

}  // namespace mlc::kernel
