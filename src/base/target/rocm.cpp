// AMD's GPUs as ROCm sees them, by architecture.
#include "base/target/rocm.h"

#include "base/strings.h"
#include "base/target/gpu.h"

namespace mlc {

// LLVM's user guide of AMDGPU, "Processors"; wavefronts: CDNA and Vega have 64 lanes, RDNA 32 in its native
// mode.
const std::vector<RocmArchitecture>& rocm_architectures() {
  static const std::vector<RocmArchitecture> all = {
      {"gfx906", 64}, {"gfx90a", 64}, {"gfx942", 64}, {"gfx1030", 32}, {"gfx1100", 32}, {"gfx1201", 32},
  };
  return all;
}

namespace {

const std::string kKind = "rocm";
constexpr int64_t kGroupMemory = 64 << 10;  // local data share of a group, on all of them
// Kernels count bytes and halves of a tensor in i32.
constexpr int64_t kMaxBinding = int64_t{1} << 31;

Target rocm_target(const RocmArchitecture& a) {
  Target t = any_gpu(kKind, a.name, "amd");
  t.triple = "amdgcn-amd-amdhsa";
  t.cpu = a.name;
  t.required = {a.name};
  t.subgroup_size = a.lanes;
  t.shared_bytes = kGroupMemory;
  t.max_binding_bytes = kMaxBinding;
  return t;
}

}  // namespace

// Machine code runs on its own architecture alone, so no variant runs everywhere.
std::vector<GpuDevice> rocm_devices() {
  std::vector<GpuDevice> all = {{kKind, {}}};
  for (const RocmArchitecture& a : rocm_architectures()) {
    all[0].targets.push_back(rocm_target(a));
    all.push_back({kKind + "-" + a.name, {rocm_target(a)}});
  }
  return all;
}

}  // namespace mlc
