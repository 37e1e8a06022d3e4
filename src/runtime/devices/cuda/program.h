// The kernels of a library variant as modules of a driver.
#pragma once

#include <string>
#include <vector>

#include "formats/library.h"
#include "runtime/devices/cuda/api.h"

namespace mlc::runtime::cuda {

struct Program {
  std::vector<CodeModule> modules;
  std::vector<GpuKernelView> kernels;  // in plan order; views into the library
  std::vector<Function> functions;     // of each
};

// CUDA: all kernels in one PTX text, which the driver compiles (and keeps in its own cache). HIP: a code
// object a kernel. Error: what the driver's log says first, or that the driver is too old for this PTX; in
// one sentence. `gpu` is its name.
Result<Program> load_program(const Api& api, const std::string& gpu, const MlcLibraryVariant& variant);
void unload_program(const Api& api, const Program& program);

}  // namespace mlc::runtime::cuda
