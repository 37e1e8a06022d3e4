// The table of devices.
#include "runtime/devices/registry.h"

#include "base/strings.h"
#include "runtime/devices/cpu/cpu.h"
#include "runtime/devices/null/null.h"

namespace mlc::runtime {
namespace {

struct Entry {
  std::string name;
  DeviceFactory factory;
};

std::vector<Entry>& entries() {
  static std::vector<Entry> table = {
      {"cpu", open_cpu_device},
      {"null", open_null_device},
  };
  return table;
}

// Names that MLC LLM knows and this build does not run yet (mlc-facts 1.7, 1.9).
constexpr const char* kNotBuilt[] = {"android", "cuda", "iphone", "macabi", "mali", "metal", "opencl", "rocm", "vulkan", "webgpu"};

}  // namespace

void DeviceDeleter::operator()(Device* device) const {
  if (device->destroy) device->destroy(device->self);
  delete device;
}

void register_device(const std::string& name, DeviceFactory factory) { entries().push_back({name, factory}); }

Result<DevicePtr> open_device(const std::string& name, const DeviceOptions& options) {
  std::string kind = split(name, ':')[0];
  if (kind == "auto") kind = "cpu";
  std::vector<std::string> names = {"auto"};
  for (const Entry& e : entries()) {
    if (e.name == kind) return e.factory(options);
    names.push_back(e.name);
  }
  for (const char* known : kNotBuilt)
    if (kind == known) return Status::error(str("--device: ", kind, " is not built yet; use --device cpu"));
  return Status::error(str("--device: unknown device '", name, "', expected one of ", join(names, ", "),
                           did_you_mean(kind, names)));
}

}  // namespace mlc::runtime
