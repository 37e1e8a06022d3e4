// What GPUs can do, by class of device, for each language we make for them.
#include <algorithm>

#include "base/strings.h"
#include "base/target/cuda.h"
#include "base/target/target.h"

namespace mlc {

std::string MatrixUnit::text() const { return str(rows, "x", columns, "x", depth); }

namespace {

struct DeviceClass {
  const char* name;
  int subgroup_size;  // where the language offers subgroups
  int64_t shared_bytes;
  const char* requires_first;  // "" or what only this class has
  MatrixUnit matrix_unit;      // of its newer devices
};

// Subgroups: Vulkan's subgroupSize as drivers report it (vulkan.gpuinfo.org); software: lavapipe on 256-bit
// vectors. Matrix units: f16 x f16 -> f32 of VK_KHR_cooperative_matrix as drivers report them (same source).
// Shared memory: what every device of the class grants, 16 KiB being Vulkan's minimum (limits table of the
// specification).
const DeviceClass kClasses[] = {
    {"nvidia", 32, 48 << 10, "vendor_nvidia", {16, 16, 16}},
    {"amd", 64, 32 << 10, "vendor_amd", {16, 16, 16}},
    {"apple", 32, 32 << 10, "vendor_apple", {}},
    {"intel", 16, 32 << 10, "vendor_intel", {8, 16, 16}},
    {"adreno", 64, 32 << 10, "vendor_adreno", {}},
    {"mali", 16, 32 << 10, "vendor_mali", {}},
    {"software", 8, 32 << 10, "software", {}},
};
constexpr int64_t kMatrixShared = 32 << 10;  // their tiles need it, and devices with matrix units have it

constexpr int kMaxThreads = 256;                     // more are not granted everywhere
constexpr int64_t kMaxBinding = int64_t{128} << 20;  // maxStorageBufferRange every Vulkan 1.x driver grants

Target base_target(const std::string& kind, const std::string& suffix, const std::string& device_class) {
  return {.kind = kind,
          .name = suffix.empty() ? kind : kind + "-" + suffix,
          .vector_bytes = 16,  // four lanes a thread
          .fma = true,
          .device_class = device_class,
          .max_threads = kMaxThreads,
          .shared_bytes = 16 << 10,
          .max_binding_bytes = kMaxBinding};
}

// OpenCL C 1.2 has no subgroups; Vulkan 1.1 has.
Target class_target(const std::string& kind, const DeviceClass& c) {
  Target t = base_target(kind, c.name, c.name);
  t.required = {c.requires_first};
  t.shared_bytes = c.shared_bytes;
  if (std::string_view(c.name) == "software")
    t.attention_part_pages = 0;  // a few CPU threads have enough in the heads
  if (kind == "vulkan") {
    t.subgroup_size = c.subgroup_size;
    t.required.push_back(str("subgroups_", c.subgroup_size));
  }
  return t;
}

Target any_device(const std::string& kind) { return base_target(kind, "", "generic"); }

// A device of no class we know, or of one that reports another size, by its subgroups alone.
Target any_with_subgroups(int size) {
  Target t = base_target("vulkan", str("subgroups", size), "generic");
  t.subgroup_size = size;
  t.required = {str("subgroups_", size)};
  return t;
}

// The same for devices that have a matrix unit; the name and the tiles say so.
Target with_matrix_unit(Target t, const MatrixUnit& unit) {
  t.name += "-matrix";
  t.matrix_unit = unit;
  t.shared_bytes = std::max(t.shared_bytes, kMatrixShared);
  t.required.push_back("matrix_f16_" + unit.text());
  return t;
}

std::vector<Target> common_targets(const std::string& kind) {
  std::vector<Target> out = {class_target(kind, kClasses[std::size(kClasses) - 1])};
  if (kind == "vulkan") out.push_back(with_matrix_unit(any_with_subgroups(32), {16, 16, 16}));
  if (kind == "vulkan")
    for (int size : {32, 64, 16}) out.push_back(any_with_subgroups(size));
  out.push_back(any_device(kind));
  return out;
}

}  // namespace

std::vector<std::string> gpu_device_names() {
  std::vector<std::string> names = cuda_device_names();
  for (std::string kind : {"vulkan", "opencl"}) {
    names.push_back(kind);
    for (const DeviceClass& c : kClasses) names.push_back(kind + "-" + c.name);
  }
  return names;
}

Result<std::vector<Target>> targets_for_device(const std::string& device) {
  if (std::vector<Target> targets = cuda_targets(device); !targets.empty()) return targets;
  for (std::string kind : {"vulkan", "opencl"}) {
    if (device == kind) return common_targets(kind);
    for (const DeviceClass& c : kClasses) {
      if (device != kind + "-" + c.name) continue;
      std::vector<Target> targets = {class_target(kind, c), any_device(kind)};
      if (kind == "vulkan" && c.matrix_unit.rows)
        targets.insert(targets.begin(), with_matrix_unit(targets[0], c.matrix_unit));
      return targets;
    }
  }
  std::vector<std::string> names = gpu_device_names();
  return Status::error(str("--device: found '", device, "', expected one of ", join(names, ", "),
                           did_you_mean(device, names)));
}

}  // namespace mlc
