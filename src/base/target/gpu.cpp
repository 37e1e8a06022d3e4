// What GPUs can do by class of device, and the table of kinds that we make libraries for.
#include "base/target/gpu.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc {

std::string MatrixUnit::text() const { return str(rows, "x", columns, "x", depth); }

namespace {

// Subgroups: Vulkan's subgroupSize as drivers report it (vulkan.gpuinfo.org); software: lavapipe on 256-bit
// vectors. Matrix units: f16 x f16 -> f32 of VK_KHR_cooperative_matrix as drivers report them (same source).
// Shared memory: what every device of the class grants, 16 KiB being Vulkan's minimum (limits table of the
// specification).
constexpr DeviceClass kClasses[] = {
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

}  // namespace

// Of every kind the name that is the kind itself comes first. A line each: its file defines the function,
// whose declaration stands where it is used, so that a kind is named once.
static const std::vector<GpuDevice>& gpu_devices() {
  static const std::vector<GpuDevice> all = [] {
    std::vector<GpuDevice> list;
    auto add = [&](const std::vector<GpuDevice>& kind) { list.insert(list.end(), kind.begin(), kind.end()); };
    // clang-format off
    { extern std::vector<GpuDevice> vulkan_devices(); add(vulkan_devices()); }
    { extern std::vector<GpuDevice> opencl_devices(); add(opencl_devices()); }
    { extern std::vector<GpuDevice> metal_devices(); add(metal_devices()); }
    { extern std::vector<GpuDevice> cuda_devices(); add(cuda_devices()); }
    { extern std::vector<GpuDevice> rocm_devices(); add(rocm_devices()); }
    { extern std::vector<GpuDevice> webgpu_devices(); add(webgpu_devices()); }
    // clang-format on
    return list;
  }();
  return all;
}

std::span<const DeviceClass> device_classes() { return kClasses; }

Target any_gpu(const std::string& kind, const std::string& suffix, const std::string& device_class) {
  return {.kind = kind,
          .name = suffix.empty() ? kind : kind + "-" + suffix,
          .vector_bytes = 16,  // four lanes a thread
          .fma = true,
          .device_class = device_class,
          .max_threads = kMaxThreads,
          .shared_bytes = 16 << 10,
          .max_binding_bytes = kMaxBinding};
}

Target class_gpu(const std::string& kind, const DeviceClass& c) {
  Target t = any_gpu(kind, c.name, c.name);
  t.required = {c.requires_first};
  t.shared_bytes = c.shared_bytes;
  if (std::string_view(c.name) == "software")
    t.attention_part_pages = 0;  // a few CPU threads have enough in the heads
  return t;
}

Target with_subgroups(Target t, int lanes) {
  t.subgroup_size = lanes;
  t.required.push_back(str("subgroups_", lanes));
  return t;
}

Target with_matrix_unit(Target t, const MatrixUnit& unit) {
  t.name += "-matrix";
  t.matrix_unit = unit;
  t.shared_bytes = std::max(t.shared_bytes, kMatrixShared);
  t.required.push_back("matrix_f16_" + unit.text());
  return t;
}

std::vector<std::string> gpu_device_names() {
  std::vector<std::string> names;
  for (const GpuDevice& d : gpu_devices()) names.push_back(d.name);
  return names;
}

Result<std::vector<Target>> targets_for_device(const std::string& device) {
  for (const GpuDevice& d : gpu_devices())
    if (d.name == device) return d.targets;
  std::vector<std::string> names = gpu_device_names();
  return Status::error(str("--device: found '", device, "', expected one of ", join(names, ", "),
                           did_you_mean(device, names)));
}

}  // namespace mlc
