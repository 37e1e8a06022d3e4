// Checks that a kernel function keeps the rules of ir.h.
#pragma once

#include <string>

#include "kernel/ir.h"

namespace mlc::kernel {

// "" when valid, else one sentence with the first problem: types of every expression, names defined once and
// before use, exactly one top-level grid loop, buffers in scope, stores only to writable ones, register
// indices constant or of unrolled loops, lanes powers of two, bool masks of the access's lanes; and
// verify_threads().
std::string verify(const Function& function);

// The part of verify() about loops over threads: the shape of thread-bound functions, and barriers and
// subgroup operations only in uniform control flow; in other functions there are none of these.
std::string verify_threads(const Function& function);

// The further rules of ir.h for device functions: what an emitter of a GPU language can rely on.
std::string verify_device(const Function& function);

}  // namespace mlc::kernel
