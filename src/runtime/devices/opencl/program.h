// The kernels of a library variant as one OpenCL program, compiled or taken from the cache on disk.
#pragma once

#include <string>
#include <vector>

#include "formats/library.h"
#include "runtime/devices/opencl/found.h"

namespace mlc::runtime::opencl {

struct Program {
  cl_program program = nullptr;
  std::vector<GpuKernelView> kernels;  // in plan order; views into the library
  bool from_cache = false;
};

// Compiles all kernels together, or takes the driver's binary kept under MLC_LLM_HOME/kernel_cache by a key
// of device, driver and source; writes it there after compiling (a cache that cannot be written is no error).
// Drivers that keep programs are left to it. Error: a kernel that the driver refuses, with its name and the
// driver's first line. `notice` (or null) is told before a compilation.
Result<Program> build_program(const Api& api, cl_context context, const Found& device,
                              const MlcLibraryVariant& variant, void (*notice)(const std::string& sentence));

}  // namespace mlc::runtime::opencl
