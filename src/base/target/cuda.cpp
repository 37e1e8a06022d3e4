// NVIDIA's GPUs as CUDA sees them, by compute capability.
#include "base/target/cuda.h"

#include <algorithm>

#include "base/strings.h"
#include "base/target/gpu.h"

namespace mlc {

// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability": all have 65,536 registers,
// 255 of a thread at most. PTX ISA, "Release Notes": the first version that knows each target, and the
// driver's that reads it.
const std::vector<CudaArchitecture>& cuda_architectures() {
  static const std::vector<CudaArchitecture> all = {
      {.number = 75, .threads = 1024, .groups = 16, .shared_bytes = 64 << 10},
      {.number = 80, .threads = 2048, .groups = 32, .shared_bytes = 164 << 10},
      {.number = 86, .threads = 1536, .groups = 16, .shared_bytes = 100 << 10},
      {.number = 89, .threads = 1536, .groups = 24, .shared_bytes = 100 << 10},
      {.number = 90, .threads = 2048, .groups = 32, .shared_bytes = 228 << 10},
      {.number = 100, .threads = 2048, .groups = 32, .shared_bytes = 228 << 10},
      {.number = 120, .threads = 1536, .groups = 24, .shared_bytes = 100 << 10},
  };
  return all;
}

namespace {

// The languages of code that drivers compile for their GPU: PTX of a level runs on every later architecture.
struct PtxLevel {
  int number;           // compute_75, ...
  const char* version;  // of PTX: the first that has the level and all that kernels use of it
  int depth;            // of mma.sync.m16n8kN for 16-bit floats, whose m16n8k16 needs sm_80 (PTX ISA 9.7.14)
};
constexpr PtxLevel kLevels[] = {{90, "+ptx78", 16}, {80, "+ptx70", 16}, {75, "+ptx65", 8}};

constexpr int kMaxThreads = 256;             // as in the other GPU languages
constexpr int64_t kStaticShared = 48 << 10;  // that a kernel declares without asking the driver for more
// Kernels count bytes and halves of a tensor in i32.
constexpr int64_t kMaxBinding = int64_t{1} << 31;

// The code for `architecture`, in the newest PTX that it reads.
Target cuda_target(int architecture, const std::string& name) {
  const PtxLevel& level = *std::find_if(std::begin(kLevels), std::end(kLevels),
                                        [&](const PtxLevel& l) { return l.number <= architecture; });
  return {.kind = "cuda",
          .name = name,
          .triple = "nvptx64-nvidia-cuda",
          .cpu = str("sm_", level.number),
          .features = level.version,
          .required = {str("sm_", level.number)},
          .vector_bytes = 16,  // four lanes a thread
          .fma = true,
          .matrix_unit = {.rows = 16, .columns = 8, .depth = level.depth},
          .device_class = str("sm_", architecture),
          .max_threads = kMaxThreads,
          .subgroup_size = 32,
          .shared_bytes = kStaticShared,
          .max_binding_bytes = kMaxBinding,
          .half_arithmetic = true};
}

Target of_level(const PtxLevel& level) { return cuda_target(level.number, str("cuda-sm", level.number)); }

}  // namespace

std::vector<Target> cuda_targets(const std::string& device) {
  std::vector<Target> targets;
  if (device == "cuda")
    for (const PtxLevel& level : kLevels) targets.push_back(of_level(level));
  for (const CudaArchitecture& a : cuda_architectures())
    if (device == str("cuda-sm", a.number)) targets = {cuda_target(a.number, device)};
  const Target oldest = of_level(*(std::end(kLevels) - 1));
  if (targets.size() == 1 && targets[0].name != oldest.name) targets.push_back(oldest);
  return targets;
}

std::vector<GpuDevice> cuda_devices() {
  std::vector<GpuDevice> all = {{"cuda", cuda_targets("cuda")}};
  for (const CudaArchitecture& a : cuda_architectures()) {
    const std::string name = str("cuda-sm", a.number);
    all.push_back({name, cuda_targets(name)});
  }
  return all;
}

}  // namespace mlc
