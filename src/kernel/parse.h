// Reads the text form of print.h.
#pragma once

#include <string_view>

#include "kernel/ir.h"

namespace mlc::kernel {

// Throws UserError "kernel text line N: found ..., expected ..." at the first mistake. The result is not
// verified.
Function parse(std::string_view text);

}  // namespace mlc::kernel
