// What the fake drivers load: PTX, and AMD's code objects.
#include <charconv>
#include <cstring>

#include "simulate/amdgpu/code.h"
#include "simulate/cuda/state.h"
#include "simulate/ptx/machine.h"

namespace mlc {
namespace {

using cuda::Code;
using cuda::kSuccess;
using State = FakeDriver::State;

// PTX ISA, "Release Notes": CUDA 11.0 reads 7.0, each minor release one more up to 11.8 and 7.8; 12.0
// reads 8.0, 13.0 9.0.
int newest_ptx(int driver) { return (driver / 1000 - 4) * 10 + driver % 1000 / 10; }

Code load_ptx(const State& state, const char* text, State::Loaded& out, std::string& log,
              std::string& complaint) {
  ptx::Module module;
  try {
    module = ptx::parse(text);
  } catch (const Fault& fault) {
    log = str("ptxas error: ", fault.what());
    complaint = str("of ", fault.what());
    return cuda::kInvalidPtx;
  }
  if (module.version > newest_ptx(state.options.version)) return cuda::kUnsupportedPtx;
  if (module.architecture > compute_capability(state)) {
    complaint = str("of PTX for sm_", module.architecture);
    return cuda::kInvalidPtx;
  }
  for (auto& [name, entry] : module.entries)
    out.kernels[name] = std::make_unique<const ptx::Entry>(std::move(entry));
  return kSuccess;
}

Code load_code_object(const State& state, const void* image, State::Loaded& out, std::string& complaint) {
  const std::string bytes = amdgpu::code_object_at(image);
  if (bytes.empty()) {
    complaint = "of what is no code object of version 4";
    return kInvalidImage;
  }
  const lang::AmdgpuCode code = lang::take_apart_amdgpu(bytes);
  if (code.architecture != state.options.architecture) {
    complaint = str("of a code object for ", code.architecture);
    return kNoBinaryForGpu;
  }
  try {
    out.kernels[code.name] = amdgpu::kernel_of(code);
  } catch (const Fault& fault) {
    complaint = str("of ", fault.what());
    return kInvalidImage;
  }
  return kSuccess;
}

}  // namespace

int compute_capability(const State& state) {
  const std::string& name = state.options.architecture;
  int number = 0;
  std::from_chars(name.data() + std::strlen("sm_"), name.data() + name.size(), number);
  return number;
}

Code load_image(const State& state, const void* image, State::Loaded& out, std::string& log,
                std::string& complaint) {
  return state.vendor->hip ? load_code_object(state, image, out, complaint)
                           : load_ptx(state, static_cast<const char*>(image), out, log, complaint);
}

}  // namespace mlc
