// The table of devices.
#include "runtime/devices/registry.h"

#include <charconv>

#include "base/platform/platform.h"
#include "base/strings.h"
#include "runtime/devices/built_in.h"
#include "runtime/devices/probe.h"

namespace mlc::runtime {
namespace {

using Entry = DeviceEntry;

std::vector<Entry>& entries() {
  static std::vector<Entry> table = built_in_devices();
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
