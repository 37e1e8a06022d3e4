// Gives every buffer of a call one element type, that of all its accesses, so that no language casts a
// pointer or binds a buffer twice: the widest vector where it is only read and no access can reach past its
// end, else words. After narrow_indices.
//
//   before:  %w: u32[640]    let %a = %w[(%p * 4)]:u32x4    let %b = %w[(%s + 512)]
//   after:   %w: u32x4[160]  let %a = %w[%p]    let %wide = %w[((%s + 512) >> 2)]
//            let %b = the lane ((%s + 512) & 3) of %wide, by selects
//
// Exact. Does nothing to functions that are not thread-bound.
#pragma once

#include "kernel/ir.h"

namespace mlc::kernel {

Function unify_accesses(Function function);

}  // namespace mlc::kernel
