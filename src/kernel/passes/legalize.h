// Replaces what the target lacks: fma becomes mul and add, a dot product becomes one of narrower instructions
// that the target has, or plain integer arithmetic.
//
//   before (no dot4):  let %s = dot4(%w, %x, %acc)
//   after:             let %s = (%acc + sum of four products of i32 lanes)
//
// Changes results only where fma does: two roundings instead of one. (16-bit float conversions, masked
// accesses and rounding are legal everywhere: emitters spell them out themselves.)
#pragma once

#include "base/target/target.h"
#include "kernel/ir.h"

namespace mlc::kernel {

Function legalize(Function function, const Target& target);

}  // namespace mlc::kernel
