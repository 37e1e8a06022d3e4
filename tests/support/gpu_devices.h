// The GPU devices of this machine (software ones too) with the variants that they run, for tests of ops and
// models.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "base/target/target.h"
#include "runtime/devices/registry.h"

namespace mlc::testing {

struct GpuTarget {
  std::string device;  // "opencl"
  Target target;
};

// The variant of a class of device, "vulkan-nvidia", without or with its matrix unit. Where all devices have
// one, the first is what it would be without.
inline Target class_target(const std::string& device, bool matrix_unit = false) {
  const std::vector<Target> targets = targets_for_device(device).value();
  for (const Target& t : targets)
    if ((t.matrix_unit.rows > 0) == matrix_unit) return t;
  if (matrix_unit) throw std::runtime_error(device + " has no matrix unit");
  Target without = targets.front();
  without.matrix_unit = {};
  return without;
}

// Every variant of a common library that each kind's first device runs. Throws where a kind has no device:
// scripts/install brings software ones.
inline std::vector<GpuTarget> gpu_targets_here() {
  static const std::vector<GpuTarget> found = [] {
    std::vector<GpuTarget> all;
    for (const std::string kind : {"opencl", "vulkan"}) {
      auto device = runtime::open_device(kind);
      if (!device.is_ok()) throw std::runtime_error(device.status().message());
      const std::vector<Target> targets = targets_for_device(kind).value();
      for (const Target& t : targets)
        if ((*device)
                ->missing_requirement((*device)->self, {{"kind", t.kind}, {"requires", t.required}})
                .empty())
          all.push_back({kind, t});
    }
    return all;
  }();
  return found;
}

// What chat compiles for that kind here.
inline std::vector<GpuTarget> best_gpu_targets() {
  std::vector<GpuTarget> best;
  for (const GpuTarget& t : gpu_targets_here())
    if (best.empty() || best.back().device != t.device) best.push_back(t);
  return best;
}

}  // namespace mlc::testing
