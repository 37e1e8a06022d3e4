// The CPU device: host memory, kernels as function pointers, a thread pool that walks the launches together.
#pragma once

#include "runtime/devices/registry.h"

namespace mlc::runtime {

// Errors: --threads of zero or fewer, or more than the cores this process may use.
Result<DevicePtr> open_cpu_device(const DeviceOptions& options);

}  // namespace mlc::runtime
