// Kernel IR -> SPIR-V 1.3, the binary shader language of Vulkan 1.1, written word by word.
#pragma once

#include <string>

#include "kernel/ir.h"

namespace mlc::lang {

// The bytes of a SPIR-V module with the entry point "main", called as formats/library.h says (MlcGpuKernel,
// SPIR-V).
//
// A buffer is a runtime array of its elements; shared buffers are Workgroup arrays; each element of a
// register buffer is a variable of its own. Signed and unsigned integers share one type. Additions and
// multiplications of floats are decorated NoContraction: a driver keeps them apart. Specialization constant 0
// (bool, true): whether the grid has rows; a pipeline for at most kGroupsPerRow groups sets it false, which
// removes the test for groups past the end.
//
// `kernel` is a device function (kernel/ir.h; internal error otherwise). Threads: may be called concurrently.
std::string emit_spirv(const kernel::Function& kernel);

namespace spirv {
// A module as text for people, one instruction a line: "%12 = IAdd %3 %10 %11".
std::string disassemble(const std::string& module);
}  // namespace spirv

}  // namespace mlc::lang
