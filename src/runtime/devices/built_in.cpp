// The devices of machines with drivers, a line each.
#include "runtime/devices/built_in.h"

#include "runtime/devices/cpu/cpu.h"
#include "runtime/devices/cuda/cuda.h"
#include "runtime/devices/null/null.h"
#include "runtime/devices/opencl/opencl.h"
#include "runtime/devices/vulkan/vulkan.h"

namespace mlc::runtime {
namespace {

Result<std::vector<ListedDevice>> list_cpu() {
  ASSIGN_OR_RETURN(DevicePtr cpu, open_cpu_device({}));
  return std::vector<ListedDevice>{{.name = "cpu",
                                    .description = cpu->properties.description,
                                    .memory_bytes = cpu->properties.memory_bytes,
                                    .features = {},
                                    .software = false}};
}

}  // namespace

std::vector<DeviceEntry> built_in_devices() {
  return {
      {"cuda", open_cuda_device, list_cuda_devices},
      {"rocm", open_rocm_device, list_rocm_devices},
      {"metal", nullptr, nullptr,
       "it needs a Mac or iPhone, and a runtime that drives Metal, which is not built yet; --device metal of "
       "compile writes libraries for it"},
      {"vulkan", open_vulkan_device, list_vulkan_devices},
      {"opencl", open_opencl_device, list_opencl_devices},
      {"webgpu", nullptr, nullptr,
       "it needs a browser with WebGPU, whose page brings the runtime; --device webgpu of compile writes "
       "libraries for it"},
      {"cpu", open_cpu_device, list_cpu},
      {"null", open_null_device},
  };
}

}  // namespace mlc::runtime
