// Checks that a kernel function keeps the rules of ir.h.
#pragma once

#include <string>

#include "kernel/ir.h"

namespace mlc::kernel {

// "" when valid, else one sentence with the first problem: types of every expression, names defined once and before use,
// exactly one top-level grid loop, buffers in scope, stores only to writable ones, register indices constant or of
// unrolled loops, lanes powers of two, bool masks of the access's lanes.
std::string verify(const Function& function);

}  // namespace mlc::kernel
