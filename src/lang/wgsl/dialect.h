// WGSL, the WebGPU Shading Language: a thin dialect of the C family.
#pragma once

#include <string>

#include "kernel/ir.h"

namespace mlc::lang {

// What every device grants a compute stage: maxStorageBuffersPerShaderStage of WebGPU's default limits.
inline constexpr int kWebGpuStorageBuffers = 8;

// The module of one kernel, called as formats/library.h says. Extensions that it enables: `subgroups` where
// the kernel has subgroup operations. Halves lie in words and come through built-ins of every device, so
// shader-f16 would change nothing. Throws UserError where the kernel binds more than kWebGpuStorageBuffers
// buffers.
std::string print_wgsl(const kernel::Function& function);

}  // namespace mlc::lang
