// What OpenCL devices can do: OpenCL C 1.2 has no subgroups.
#include "base/target/gpu.h"

namespace mlc {

std::vector<GpuDevice> opencl_devices() {
  const std::string kind = "opencl";
  std::vector<GpuDevice> all = {{kind, {class_gpu(kind, device_classes().back()), any_gpu(kind)}}};
  for (const DeviceClass& c : device_classes())
    all.push_back({kind + "-" + c.name, {class_gpu(kind, c), any_gpu(kind)}});
  return all;
}

}  // namespace mlc
