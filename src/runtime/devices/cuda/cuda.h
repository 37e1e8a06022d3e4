// The devices of CUDA and ROCm: NVIDIA's driver, or AMD's HIP, opened at run time.
#pragma once

#include "runtime/devices/registry.h"

namespace mlc::runtime {

// GPU number options.index of the driver. Errors: no driver, one too old, no such GPU, one that our code does
// not run on.
Result<DevicePtr> open_cuda_device(const DeviceOptions& options);
Result<DevicePtr> open_rocm_device(const DeviceOptions& options);

// Every GPU of the driver. Loads it: call it through probe_devices().
Result<std::vector<ListedDevice>> list_cuda_devices();
Result<std::vector<ListedDevice>> list_rocm_devices();

// What was asked of the driver since the device was opened. In steady decoding only replays, copies and reads
// grow.
struct CudaCounters {
  int64_t allocations = 0, modules = 0, graphs = 0, launches = 0, replays = 0, copies = 0;
  int64_t readbacks = 0, bytes_read = 0;  // of `copies`
};
const CudaCounters& cuda_counters(const Device& device);

}  // namespace mlc::runtime
