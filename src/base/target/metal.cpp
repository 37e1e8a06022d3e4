// What Metal devices can do (Apple's Metal Feature Set Tables): SIMD-groups of 32 lanes with reductions and
// matrices of 8 by 8 from Apple7 (A14, M1) on; Macs with other GPUs and older devices run the last variant.
#include <algorithm>

#include "base/target/gpu.h"

namespace mlc {

std::vector<GpuDevice> metal_devices() {
  const std::string kind = "metal";
  const auto& classes = device_classes();
  const DeviceClass& apple = *std::ranges::find(classes, std::string_view("apple"), &DeviceClass::name);
  // From source: 32 KiB of threadgroup memory from Apple4 on.
  const Target simd = with_subgroups(class_gpu(kind, apple), apple.subgroup_size);
  const std::vector<Target> targets = {with_matrix_unit(simd, {8, 8, 8}), simd, any_gpu(kind)};
  return {{kind, targets}, {kind + "-apple", targets}};
}

}  // namespace mlc
