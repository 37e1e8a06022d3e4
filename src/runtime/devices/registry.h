// The devices this build knows, one line each.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/device.h"

namespace mlc::runtime {

struct DeviceOptions {
  int threads = 0;  // CPU: 0 = the cores this process may use
};

struct DeviceDeleter {
  void operator()(Device* device) const;
};
using DevicePtr = std::unique_ptr<Device, DeviceDeleter>;

// "auto", "cpu", "cpu:0", "null". Error: an unknown name (with the nearest), or a known one that is not built in yet.
Result<DevicePtr> open_device(const std::string& name, const DeviceOptions& options = {});

// The interpreter device and tests add themselves here; `name` must be new.
using DeviceFactory = Result<DevicePtr> (*)(const DeviceOptions& options);
void register_device(const std::string& name, DeviceFactory factory);

}  // namespace mlc::runtime
