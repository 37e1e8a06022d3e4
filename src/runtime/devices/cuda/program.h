// The kernels of a library variant as one module of the driver.
#pragma once

#include <string>
#include <vector>

#include "formats/library.h"
#include "runtime/devices/cuda/api.h"

namespace mlc::runtime::cuda {

struct Program {
  CodeModule module = nullptr;
  std::vector<GpuKernelView> kernels;  // in plan order; views into the library
  std::vector<Function> functions;     // of each
};

// All kernels in one PTX text, which the driver compiles (and keeps in its own cache). Error: what the
// driver's log says first, or that the driver is too old for this PTX; in one sentence. `gpu` is its name.
Result<Program> load_program(const Api& api, const std::string& gpu, const MlcLibraryVariant& variant);

}  // namespace mlc::runtime::cuda
