// The Metal Shading Language: a thin dialect of the C family.
#pragma once

#include <string>

#include "kernel/ir.h"

namespace mlc::lang {

// The text of one kernel that compiles by itself: the prelude, guarded so that texts can be joined, and the
// kernel, called as formats/library.h says.
std::string print_metal(const kernel::Function& function);

}  // namespace mlc::lang
