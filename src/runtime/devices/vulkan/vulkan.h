// The Vulkan device: SPIR-V kernels on any GPU with Vulkan 1.1, the loader and driver found at run time.
#pragma once

#include <string>
#include <vector>

#include "runtime/devices/registry.h"

namespace mlc::runtime {

// DeviceOptions::index counts GPUs: discrete ones first, then integrated, virtual and software ones, each in
// the driver's order. Errors: no loader, no driver, no GPU of that index; each with what to install or which
// flag to use.
Result<DevicePtr> open_vulkan_device(const DeviceOptions& options);

// Every GPU by that number. Loads drivers: call it through probe_devices().
Result<std::vector<ListedDevice>> list_vulkan_devices();

struct VulkanSettings {
  bool unreachable_memory =
      false;  // buffers above 4 KiB lie as a discrete GPU's large ones do: copies go through staging
  bool validation = false;  // load the validation layers
};
// The same for tests.
Result<DevicePtr> open_vulkan_device_with(const DeviceOptions& options, const VulkanSettings& settings);

// What the device made or did since it was opened.
struct VulkanCounters {
  int64_t allocations = 0;  // of device memory
  int64_t pipelines = 0;
  int64_t recordings = 0;  // command buffers written
  int64_t submits = 0;     // queue submissions
  int64_t readbacks = 0, bytes_read = 0;
};
VulkanCounters vulkan_counters(const Device& device);
// Errors that the driver or the validation layers reported, one line each.
std::vector<std::string> vulkan_messages(const Device& device);

}  // namespace mlc::runtime
