// WebGPU as the host's functions (web/webgpu.mjs): kernels in WGSL, steps recorded once and replayed.
#pragma once

#include "runtime/devices/registry.h"

namespace mlc::runtime {

// Errors: the host has no WebGPU.
Result<DevicePtr> open_webgpu_device(const DeviceOptions& options);

}  // namespace mlc::runtime
