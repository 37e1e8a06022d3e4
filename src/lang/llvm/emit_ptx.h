// Kernel IR -> LLVM IR -> PTX, the assembly that NVIDIA's driver compiles for the GPU it finds, in process.
#pragma once

#include <string>

#include "base/target/target.h"
#include "kernel/ir.h"

namespace mlc::lang {

// A PTX module with one entry, called as formats/library.h says (MlcGpuKernel, PTX); without comments and
// blank lines. It calls nothing outside of itself and keeps nothing in local memory.
//
// Buffers that are only read and equal no output are loaded past the coherent cache (ld.global.nc); kShared
// buffers lie in one array as kernel/shared_layout.h says. Additions and multiplications of floats are
// rounded each
// (.rn), so that ptxas does not contract them; divisions are div.full (2 ulp), square roots sqrt.approx (1
// ulp).
//
// `kernel` is a device function (kernel/ir.h; internal error otherwise) with subgroups of 32 lanes or none;
// `target` one of base/target/cuda.cpp. Threads: may be called concurrently.
std::string emit_ptx(const kernel::Function& kernel, const Target& target);

}  // namespace mlc::lang
