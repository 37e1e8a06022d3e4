// The devices this build knows, one line each.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/device.h"

namespace mlc::runtime {

struct DeviceOptions {
  int threads = 0;  // CPU: 0 = the cores this process may use
  int index = 0;    // of the devices of a kind: 1 in "vulkan:1"
  // Told before work that a user waits for, such as a driver compiling kernels for the first time. May be
  // null.
  void (*notice)(const std::string& sentence) = nullptr;
};

struct DeviceDeleter {
  void operator()(Device* device) const;
};
using DevicePtr = std::unique_ptr<Device, DeviceDeleter>;
using DeviceFactory = Result<DevicePtr> (*)(const DeviceOptions& options);

// A device as `mlc_llm devices` shows it.
struct ListedDevice {
  std::string name;  // "opencl:0": what --device takes
  std::string description;
  int64_t memory_bytes = 0;
  std::vector<std::string> features;
  bool software = false;  // runs on the CPU: never chosen by `auto`
};
using DeviceLister = Result<std::vector<ListedDevice>> (*)();

// "cpu", "cpu:0", "null", "opencl", "opencl:1", "vulkan", or "auto": the first kind of cuda, rocm, metal,
// vulkan, opencl that has a device which is no software, else the CPU. Errors: an unknown name (with the
// nearest), a known one that this build cannot drive (with what it would need), and what the device's own
// factory says.
Result<DevicePtr> open_device(const std::string& name, const DeviceOptions& options = {});

// What "auto" means on this machine: "opencl:0", "cpu". Asks drivers in child processes (devices/probe.h).
std::string choose_device();

// Each kind of device, in the order of `auto`, with what its driver answers in a child process; of a kind
// that this build cannot drive, what it would need.
struct KindOfDevice {
  std::string kind;
  Result<std::vector<ListedDevice>> devices;
};
std::vector<KindOfDevice> probe_devices();

// The interpreter device and tests add themselves here; `name` must be new, or of a kind that this build
// cannot drive.
void register_device(const std::string& name, DeviceFactory factory);

}  // namespace mlc::runtime
