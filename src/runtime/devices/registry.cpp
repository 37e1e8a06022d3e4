// The table of devices.
#include "runtime/devices/registry.h"

#include <charconv>

#include "base/platform/platform.h"
#include "base/strings.h"
#include "runtime/devices/cpu/cpu.h"
#include "runtime/devices/cuda/cuda.h"
#include "runtime/devices/null/null.h"
#include "runtime/devices/opencl/opencl.h"
#include "runtime/devices/probe.h"
#include "runtime/devices/vulkan/vulkan.h"

namespace mlc::runtime {
namespace {

struct Entry {
  std::string name;
  DeviceFactory factory;
  DeviceLister lister = nullptr;  // of kinds that `auto` and `mlc_llm devices` ask, in that order
  const char* lacks = nullptr;    // what a kind would need that this build cannot drive; null: nothing
};

Result<std::vector<ListedDevice>> list_cpu() {
  ASSIGN_OR_RETURN(DevicePtr cpu, open_cpu_device({}));
  return std::vector<ListedDevice>{{.name = "cpu",
                                    .description = cpu->properties.description,
                                    .memory_bytes = cpu->properties.memory_bytes,
                                    .features = {},
                                    .software = false}};
}

std::vector<Entry>& entries() {
  static std::vector<Entry> table = {
      {"cuda", open_cuda_device, list_cuda_devices},
      {"rocm", open_rocm_device, list_rocm_devices},
      {"metal", nullptr, nullptr,
       "it needs a Mac or iPhone, and a runtime that drives Metal, which is not built yet; --device metal of "
       "compile writes libraries for it"},
      {"vulkan", open_vulkan_device, list_vulkan_devices},
      {"opencl", open_opencl_device, list_opencl_devices},
      {"webgpu", nullptr, nullptr,
       "it needs a browser with WebGPU, whose page brings the runtime; --device webgpu of compile writes "
       "libraries for it"},
      {"cpu", open_cpu_device, list_cpu},
      {"null", open_null_device},
  };
  return table;
}

// Presets of compile that name no device of this machine (mlc-facts 1.7).
constexpr const char* kNotBuilt[] = {"android", "iphone", "macabi", "mali"};

Status cannot_drive(const Entry& e) {
  return Status::error(str("--device ", e.name, ": ", e.lacks, "; here use --device cpu"));
}

// The number behind the colon; 0 without one.
Result<int> device_index(const std::string& name) {
  std::vector<std::string> parts = split(name, ':');
  if (parts.size() == 1) return 0;
  int index = -1;
  const std::string& text = parts[1];
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (parts.size() > 2 || error != std::errc() || end != text.data() + text.size() || index < 0)
    return Status::error(
        str("--device: found '", name, "', expected a kind and a number such as ", parts[0], ":0"));
  return index;
}

}  // namespace

void DeviceDeleter::operator()(Device* device) const {
  if (device->destroy) device->destroy(device->self);
  delete device;
}

void register_device(const std::string& name, DeviceFactory factory) {
  for (Entry& e : entries())
    if (e.name == name && e.lacks) {
      e = {name, factory};
      return;
    }
  entries().push_back({name, factory});
}

std::vector<KindOfDevice> probe_devices() {
  std::vector<KindOfDevice> out;
  for (const Entry& e : entries()) {
    if (e.lacks) out.push_back({e.name, cannot_drive(e)});
    if (e.lister) out.push_back({e.name, probe(e.name, e.lister)});
  }
  return out;
}

std::string choose_device() {
  // Without a GPU drivers can only find software devices, and asking them takes a tenth of a second.
  if (!platform::may_have_gpu()) return "cpu";
  for (const Entry& e : entries()) {
    if (!e.lister || e.name == "cpu") continue;
    auto found = probe(e.name, e.lister);
    if (!found.is_ok()) continue;
    for (const ListedDevice& d : *found)
      if (!d.software) return d.name;
  }
  return "cpu";
}

Result<DevicePtr> open_device(const std::string& wanted, const DeviceOptions& options) {
  std::string name = wanted == "auto" ? choose_device() : wanted;
  std::string kind = split(name, ':')[0];
  std::vector<std::string> names = {"auto"};
  for (const Entry& e : entries()) {
    if (e.name == kind && e.lacks) return cannot_drive(e);
    if (e.name == kind) {
      DeviceOptions chosen = options;
      ASSIGN_OR_RETURN(chosen.index, device_index(name));
      return e.factory(chosen);
    }
    if (!e.lacks) names.push_back(e.name);
  }
  for (const char* known : kNotBuilt)
    if (kind == known) return Status::error(str("--device: ", kind, " is not built yet; use --device cpu"));
  return Status::error(str("--device: unknown device '", name, "', expected one of ", join(names, ", "),
                           did_you_mean(kind, names)));
}

}  // namespace mlc::runtime
