// mlc_llm devices: what --device can name on this machine.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "apps/cli/commands.h"
#include "base/strings.h"
#include "runtime/devices/registry.h"

namespace mlc::cli {
namespace {

void print(const runtime::ListedDevice& d) {
  std::string text = human_bytes(static_cast<double>(d.memory_bytes)) + " memory";
  if (!d.features.empty()) text += ", " + join(d.features, ", ");
  std::printf("%-10s %s\n%-10s %s\n", d.name.c_str(), d.description.c_str(), "", text.c_str());
}

void devices() {
  for (const runtime::KindOfDevice& kind : runtime::probe_devices()) {
    if (!kind.devices.is_ok()) {
      std::printf("%-10s none: %s\n", kind.kind.c_str(), kind.devices.status().message().c_str());
      continue;
    }
    for (const runtime::ListedDevice& d : kind.devices.value()) print(d);
  }
  std::printf("--device auto: %s\n", runtime::choose_device().c_str());
}

}  // namespace

void add_devices(CLI::App& app) {
  app.add_subcommand("devices", "List the devices of this machine, their memory and features")
      ->callback(devices);
}

}  // namespace mlc::cli
