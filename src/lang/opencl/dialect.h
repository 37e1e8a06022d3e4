// OpenCL C 1.2: a thin dialect of the C family.
#pragma once

#include <string>

#include "kernel/ir.h"

namespace mlc::lang {

// The text of one kernel that compiles by itself: the prelude, guarded so that texts can be joined, and the
// kernel.
std::string print_opencl(const kernel::Function& function);

}  // namespace mlc::lang
