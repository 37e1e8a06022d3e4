// What Vulkan devices can do: Vulkan 1.1 has subgroups.
#include "base/strings.h"
#include "base/target/gpu.h"

namespace mlc {
namespace {

constexpr const char* kKind = "vulkan";

// A device of no class we know, or of one that reports another size, by its subgroups alone.
Target any_with_subgroups(int lanes) {
  return with_subgroups(any_gpu(kKind, str("subgroups", lanes)), lanes);
}

Target class_target(const DeviceClass& c) { return with_subgroups(class_gpu(kKind, c), c.subgroup_size); }

}  // namespace

std::vector<GpuDevice> vulkan_devices() {
  std::vector<Target> common = {class_target(device_classes().back()),
                                with_matrix_unit(any_with_subgroups(32), {16, 16, 16})};
  for (int lanes : {32, 64, 16}) common.push_back(any_with_subgroups(lanes));
  common.push_back(any_gpu(kKind));
  std::vector<GpuDevice> all = {{kKind, common}};
  for (const DeviceClass& c : device_classes()) {
    std::vector<Target> targets = {class_target(c), any_gpu(kKind)};
    if (c.matrix_unit.rows) targets.insert(targets.begin(), with_matrix_unit(targets[0], c.matrix_unit));
    all.push_back({str(kKind, "-", c.name), targets});
  }
  return all;
}

}  // namespace mlc
