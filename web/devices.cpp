// The devices of the runtime in WebAssembly.
#include "runtime/devices/built_in.h"
#include "runtime/devices/cpu/cpu.h"
#include "webgpu.h"

namespace mlc::runtime {

std::vector<DeviceEntry> built_in_devices() {
  return {{"webgpu", open_webgpu_device}, {"cpu", open_cpu_device}};
}

}  // namespace mlc::runtime
