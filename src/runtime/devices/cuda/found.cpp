// Asks a driver for its GPUs.
#include "runtime/devices/cuda/found.h"

#include <algorithm>

#include "base/strings.h"
#include "base/target/cuda.h"
#include "base/target/rocm.h"

namespace mlc::runtime::cuda {
namespace {

// hipDeviceProp_tR0600 of HIP 6 and 7: its size, and where gcnArchName, 256 bytes, lies in it.
constexpr size_t kHipPropertyBytes = 1472, kHipArchitectureAt = 1160;

struct Attributes {
  int processors, shared, pools;
};
constexpr Attributes kCudaAttributes = {16, 8, 115};  // CUdevice_attribute
constexpr Attributes kHipAttributes = {63, 74, 88};   // hipDeviceAttribute_t of HIP 6 and 7

int attribute(const Api& api, DeviceNumber device, int which) {
  int value = 0;
  return api.device_attribute(&value, which, device) == kSuccess ? value : 0;
}

Found describe(const Api& api, DeviceNumber device) {
  Found f;
  f.device = device;
  char name[256] = "";
  if (api.device_name(name, sizeof name - 1, device) == kSuccess) f.name = name;
  size_t bytes = 0;
  if (api.device_memory(&bytes, device) == kSuccess) f.memory_bytes = static_cast<int64_t>(bytes);
  const Attributes& which = api.vendor->hip ? kHipAttributes : kCudaAttributes;
  f.processors = attribute(api, device, which.processors);
  f.shared_bytes = attribute(api, device, which.shared);
  f.pools = attribute(api, device, which.pools) != 0;
  if (api.vendor->hip)
    describe_rocm(api, f);
  else
    describe_cuda(api, f);
  return f;
}

}  // namespace

void describe_cuda(const Api& api, Found& f) {
  const int number = 10 * attribute(api, f.device, kComputeMajor) + attribute(api, f.device, kComputeMinor);
  f.architecture = str("compute capability ", number / 10, ".", number % 10);
  for (const CudaArchitecture& a : cuda_architectures())
    if (a.number <= number) f.features.push_back(str("sm_", a.number));
  if (f.features.empty()) f.unsupported = f.architecture + ", expected 7.5 or newer";
}

// "gfx90a:sramecc+:xnack-": the modes do not matter, code is made for any.
void describe_rocm(const Api& api, Found& f) {
  alignas(16) char properties[kHipPropertyBytes] = "";
  if (api.properties(properties, f.device) == kSuccess)
    f.architecture = split(std::string(properties + kHipArchitectureAt), ':')[0];
  std::vector<std::string> known;
  for (const RocmArchitecture& a : rocm_architectures()) known.push_back(a.name);
  f.features = {f.architecture};
  if (std::find(known.begin(), known.end(), f.architecture) == known.end())
    f.unsupported = str("architecture '", f.architecture, "', expected one of ", join(known, ", "));
}

Result<std::vector<Found>> find_devices(const Api& api) {
  const Vendor& v = *api.vendor;
  int count = 0;
  Code code = api.device_count(&count);
  if (code != kSuccess || count == 0)
    return Status::error(str("--device ", v.kind, ": the ", v.driver, " finds no GPU",
                             code == kSuccess ? "" : ": " + error_name(api, code), "; see ", v.tool, " and ",
                             v.hip ? "HIP" : "CUDA", "_VISIBLE_DEVICES, or use --device cpu"));
  std::vector<Found> found;
  for (int i = 0; i < count; ++i) {
    DeviceNumber device = 0;
    if (code = api.device_get(&device, i); code != kSuccess)
      return Status::error(str("--device ", v.kind, ": the ", v.driver, " gives no GPU ", i, ": ",
                               error_name(api, code), "; see ", v.tool, ", or use --device cpu"));
    found.push_back(describe(api, device));
  }
  return found;
}

}  // namespace mlc::runtime::cuda
