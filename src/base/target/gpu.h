// What the files of GPU targets share: classes of devices, and the table of kinds.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/target/target.h"

namespace mlc {

struct DeviceClass {
  const char* name;
  int subgroup_size;  // where the language offers subgroups
  int64_t shared_bytes;
  const char* requires_first;  // "" or what only this class has
  MatrixUnit matrix_unit;      // of its newer devices
};

// Every class of device we know; the last one is CPUs ("software").
std::span<const DeviceClass> device_classes();

// What a name of --device stands for: the variants of a library, best first, of which the last runs on every
// such device.
struct GpuDevice {
  std::string name;
  std::vector<Target> targets;
};

// A target that asks nothing of a device: no subgroups, 16 KiB of shared memory. `suffix` "" or the end of
// its name.
Target any_gpu(const std::string& kind, const std::string& suffix = "",
               const std::string& device_class = "generic");
// The same with what every device of the class has; without subgroups.
Target class_gpu(const std::string& kind, const DeviceClass& c);

// Targets with subgroups of that many lanes, and with a matrix unit; the requirements, and of the latter the
// name, say so.
Target with_subgroups(Target t, int lanes);
Target with_matrix_unit(Target t, const MatrixUnit& unit);

}  // namespace mlc
