// Asks the driver for its GPUs.
#include "runtime/devices/cuda/found.h"

#include "base/strings.h"
#include "base/target/cuda.h"

namespace mlc::runtime::cuda {
namespace {

Found describe(const Api& api, DeviceNumber device) {
  auto attribute = [&](int which) {
    int value = 0;
    return api.device_attribute(&value, which, device) == kSuccess ? value : 0;
  };
  Found f{.device = device};
  char name[256] = "";
  if (api.device_name(name, sizeof name - 1, device) == kSuccess) f.name = name;
  size_t bytes = 0;
  if (api.device_memory(&bytes, device) == kSuccess) f.memory_bytes = static_cast<int64_t>(bytes);
  f.architecture = 10 * attribute(kComputeMajor) + attribute(kComputeMinor);
  f.processors = attribute(kProcessors);
  f.shared_bytes = attribute(kSharedOfGroup);
  f.pools = attribute(kHasPools) != 0;
  for (const CudaArchitecture& a : cuda_architectures())
    if (a.number <= f.architecture) f.features.push_back(str("sm_", a.number));
  return f;
}

}  // namespace

Result<std::vector<Found>> find_devices(const Api& api) {
  int count = 0;
  Code code = api.device_count(&count);
  if (code != kSuccess || count == 0)
    return Status::error(str("--device cuda: the NVIDIA driver finds no GPU",
                             code == kSuccess ? "" : ": " + error_name(api, code),
                             "; see nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu"));
  std::vector<Found> found;
  for (int i = 0; i < count; ++i) {
    DeviceNumber device = 0;
    if (code = api.device_get(&device, i); code != kSuccess)
      return Status::error(str("--device cuda: the NVIDIA driver gives no GPU ", i, ": ",
                               error_name(api, code), "; see nvidia-smi, or use --device cpu"));
    found.push_back(describe(api, device));
  }
  return found;
}

std::string driver_text(const Api& api) {
  int version = 0;
  api.driver_version(&version);
  return str(version / 1000, ".", version % 1000 / 10);
}

}  // namespace mlc::runtime::cuda
