// The OpenCL device: any OpenCL 1.2 driver, opened at run time.
#pragma once

#include "runtime/devices/registry.h"

namespace mlc::runtime {

// Device number options.index of list_opencl_devices(). Errors: no loader, no device, no such number, a
// driver that gives no context or queue.
Result<DevicePtr> open_opencl_device(const DeviceOptions& options);

// Every device of every OpenCL driver, GPUs first. Loads drivers: call it through probe_devices().
Result<std::vector<ListedDevice>> list_opencl_devices();

// What was asked of the driver since the device was opened. In steady decoding only launches, copies and
// waits grow.
struct OpenClCounters {
  int64_t allocations = 0, programs = 0, kernels = 0, arguments_set = 0, recordings = 0, launches = 0,
          copies = 0, waits = 0;
  int64_t readbacks = 0, bytes_read = 0;  // of `copies`
  int64_t programs_from_cache = 0;        // of `programs`
};
const OpenClCounters& opencl_counters(const Device& device);

}  // namespace mlc::runtime
