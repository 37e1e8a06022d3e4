// The devices that a build of the runtime holds: built_in.cpp on machines with drivers, web/devices.cpp in
// WebAssembly.
#pragma once

#include <string>
#include <vector>

#include "runtime/devices/registry.h"

namespace mlc::runtime {

struct DeviceEntry {
  std::string name;
  DeviceFactory factory;
  DeviceLister lister = nullptr;  // of kinds that `auto` and `mlc_llm devices` ask, in that order
  const char* lacks = nullptr;    // what a kind would need that this build cannot drive; null: nothing
};

std::vector<DeviceEntry> built_in_devices();

}  // namespace mlc::runtime
