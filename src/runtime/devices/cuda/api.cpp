// Opens the drivers.
#include "runtime/devices/cuda/api.h"

#include "base/platform/platform.h"
#include "base/strings.h"

namespace mlc::runtime::cuda {
namespace {

Lookup stand_ins[2] = {};  // by Vendor::hip

void* in_cuda(const char* symbol) {
  static void* driver = platform::open_driver({"libcuda.so.1", "libcuda.so", "nvcuda.dll"});
  return driver ? platform::find_symbol(driver, symbol) : nullptr;
}

void* in_hip(const char* symbol) {
  static void* driver = platform::open_driver({"libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so"});
  return driver ? platform::find_symbol(driver, symbol) : nullptr;
}

std::string version_text(const Vendor& v, int version) {
  return str(version / v.major, ".", version % v.major / v.minor);
}

// 0: there is no driver.
int version_of(const Vendor& v, Lookup lookup) {
  auto ask = reinterpret_cast<Code (*)(int*)>(lookup(v.hip ? "hipDriverGetVersion" : "cuDriverGetVersion"));
  int version = 0;
  if (ask) ask(&version);
  return version;
}

Result<Api> resolve(const Vendor& v, Lookup lookup) {
  const std::string flag = str("--device ", v.kind, ": ");
  if (!lookup(v.hip ? "hipInit" : "cuInit")) return Status::error(flag + v.missing);
  const int version = version_of(v, lookup);
  Api api;
#define MLC_DRIVER_RESOLVE(name, cuda_symbol, hip_symbol, parameters)                                      \
  api.name = reinterpret_cast<decltype(api.name)>(lookup(v.hip ? hip_symbol : cuda_symbol));               \
  if (!api.name || version < v.oldest)                                                                     \
    return Status::error(str(flag, "the ", v.driver, " is for ", v.product, " ", version_text(v, version), \
                             api.name ? "" : " and has no ",                                               \
                             api.name ? ""                                                                 \
                             : v.hip  ? hip_symbol                                                         \
                                      : cuda_symbol,                                                        \
                             ", expected ", v.product, " ", version_text(v, v.oldest),                     \
                             " or newer; update the driver, or use --device vulkan or --device cpu"));
  MLC_DRIVER_FUNCTIONS(MLC_DRIVER_RESOLVE)
#undef MLC_DRIVER_RESOLVE
  api.vendor = &v;
  if (v.hip) {
    api.properties = reinterpret_cast<decltype(api.properties)>(lookup("hipGetDevicePropertiesR0600"));
    if (!api.properties)
      return Status::error(str(flag, "the ", v.driver,
                               " has no hipGetDevicePropertiesR0600, expected ROCm 6.0 or "
                               "newer; update the driver, or use --device vulkan or --device cpu"));
  }
  if (Code code = api.init(0); code != kSuccess)
    return Status::error(
        str(flag, "the ", v.driver, " ",
            code == kNoDevice ? "finds no GPU" : str("does not start: ", error_name(api, code)), "; see ",
            v.tool, ", or use --device cpu"));
  return api;
}

template <const Vendor& kVendor>
Result<const Api*> loaded() {
  if (Lookup lookup = stand_ins[kVendor.hip]) {
    static Api other;  // whoever opened a device keeps its address
    ASSIGN_OR_RETURN(other, resolve(kVendor, lookup));
    return &other;
  }
  static const Result<Api> driver = resolve(kVendor, kVendor.symbol);
  if (!driver.is_ok()) return driver.status();
  return &driver.value();
}

}  // namespace

const Vendor kCudaVendor = {.kind = "cuda",
                            .driver = "NVIDIA driver",
                            .missing =
                                "no NVIDIA driver (libcuda.so.1) on this machine; install the driver of "
                                "its GPU, or use --device vulkan or --device cpu",
                            .tool = "nvidia-smi",
                            .oldest = 11040,  // the graph functions
                            .major = 1000,
                            .minor = 10,
                            .product = "CUDA",
                            .hip = false,
                            .symbol = in_cuda};

const Vendor kRocmVendor = {.kind = "rocm",
                            .driver = "AMD driver",
                            .missing =
                                "no HIP (libamdhip64.so) on this machine; install ROCm for its GPU, or "
                                "use --device vulkan or --device cpu",
                            .tool = "rocminfo",
                            .oldest = 60000000,  // the properties that name an architecture
                            .major = 10000000,
                            .minor = 100000,
                            .product = "ROCm",
                            .hip = true,
                            .symbol = in_hip};

Result<const Api*> load_api(const Vendor& vendor) {
  return vendor.hip ? loaded<kRocmVendor>() : loaded<kCudaVendor>();
}

void set_driver_for_tests(Lookup lookup, const Vendor& vendor) { stand_ins[vendor.hip] = lookup; }

std::string driver_text(const Api& api) {
  int version = 0;
  api.driver_version(&version);
  return version_text(*api.vendor, version);
}

std::string error_name(const Api& api, Code code) {
  const char* name = nullptr;
  if (api.error_name && api.error_name(code, &name) == kSuccess && name) return name;
  return str("error ", code);
}

}  // namespace mlc::runtime::cuda
