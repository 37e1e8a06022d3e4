// What WebGPU devices can do: the default limits of its specification, and subgroups where a browser offers
// them in one size.
#include "base/strings.h"
#include "base/target/gpu.h"

namespace mlc {
namespace {

constexpr const char* kKind = "webgpu";

}  // namespace

// A browser does not tell which GPU it has, so that classes are sizes of subgroups; "software" are CPUs.
std::vector<GpuDevice> webgpu_devices() {
  const DeviceClass& software = device_classes().back();
  const Target on_cpu = with_subgroups(class_gpu(kKind, software), software.subgroup_size);
  std::vector<GpuDevice> all = {{kKind, {on_cpu}}};
  for (int lanes : {32, 64, 16})
    all[0].targets.push_back(with_subgroups(any_gpu(kKind, str("subgroups", lanes)), lanes));
  all[0].targets.push_back(any_gpu(kKind));
  all.push_back({on_cpu.name, {on_cpu, any_gpu(kKind)}});
  return all;
}

}  // namespace mlc
