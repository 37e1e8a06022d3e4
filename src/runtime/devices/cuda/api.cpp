// Opens the CUDA driver.
#include "runtime/devices/cuda/api.h"

#include "base/platform/platform.h"
#include "base/strings.h"

namespace mlc::runtime::cuda {
namespace {

Lookup stand_in = nullptr;

void* in_driver(const char* symbol) {
  static void* driver = platform::open_driver({"libcuda.so.1", "libcuda.so", "nvcuda.dll"});
  return driver ? platform::find_symbol(driver, symbol) : nullptr;
}

Result<Api> resolve(Lookup lookup) {
  if (!lookup("cuInit"))
    return Status::error(
        "--device cuda: no NVIDIA driver (libcuda.so.1) on this machine; install the driver of its GPU, or "
        "use "
        "--device vulkan or --device cpu");
  auto version_of = reinterpret_cast<Code (*)(int*)>(lookup("cuDriverGetVersion"));
  int version = 0;
  if (version_of) version_of(&version);
  Api api;
#define MLC_CUDA_RESOLVE(name, symbol, parameters)                                                          \
  api.name = reinterpret_cast<decltype(api.name)>(lookup(symbol));                                          \
  if (!api.name || version < kOldestDriver)                                                                 \
    return Status::error(str("--device cuda: the NVIDIA driver is for CUDA ", version / 1000, ".",          \
                             version % 1000 / 10, api.name ? "" : " and has no " symbol,                    \
                             ", expected CUDA 11.4 or newer; update the driver, or use --device vulkan or " \
                             "--device cpu"));
  MLC_CUDA_FUNCTIONS(MLC_CUDA_RESOLVE)
#undef MLC_CUDA_RESOLVE
  if (Code code = api.init(0); code != kSuccess)
    return Status::error(
        str("--device cuda: the NVIDIA driver ",
            code == kNoDevice ? "finds no GPU" : str("does not start: ", error_name(api, code)),
            "; see nvidia-smi, or use --device cpu"));
  return api;
}

}  // namespace

Result<const Api*> load_api() {
  if (stand_in) {
    static Api other;  // whoever opened a device keeps its address
    ASSIGN_OR_RETURN(other, resolve(stand_in));
    return &other;
  }
  static const Result<Api> driver = resolve(in_driver);
  if (!driver.is_ok()) return driver.status();
  return &driver.value();
}

void set_driver_for_tests(Lookup lookup) { stand_in = lookup; }

std::string error_name(const Api& api, Code code) {
  const char* name = nullptr;
  if (api.error_name && api.error_name(code, &name) == kSuccess && name) return name;
  return str("error ", code);
}

}  // namespace mlc::runtime::cuda
