// Asks a driver in a child process.
#include "runtime/devices/probe.h"

#include "base/json.h"
#include "base/platform/platform.h"
#include "base/strings.h"

namespace mlc::runtime {
namespace {

Json to_json(const Result<std::vector<ListedDevice>>& found) {
  if (!found.is_ok()) return {{"error", found.status().message()}};
  Json list = Json::array();
  for (const ListedDevice& d : found.value())
    list.push_back({{"name", d.name},
                    {"description", d.description},
                    {"memory_bytes", d.memory_bytes},
                    {"features", d.features},
                    {"software", d.software}});
  return {{"devices", list}};
}

Result<std::vector<ListedDevice>> from_json(const Json& answer, const std::string& what) {
  if (auto error = find_string(answer, "error")) return Status::error(*error);
  const Json* list = find(answer, "devices");
  if (!list || !list->is_array()) return Status::error(what + ": the driver's answer was cut short");
  std::vector<ListedDevice> devices;
  for (const Json& d : *list) {
    ListedDevice listed;
    ASSIGN_OR_RETURN(listed.name, get_string(d, "name", what));
    ASSIGN_OR_RETURN(listed.description, get_string(d, "description", what));
    ASSIGN_OR_RETURN(listed.memory_bytes, get_int(d, "memory_bytes", what));
    for (const Json& f : d["features"]) listed.features.push_back(f.get<std::string>());
    listed.software = d["software"].get<bool>();
    devices.push_back(std::move(listed));
  }
  return devices;
}

}  // namespace

Result<std::vector<ListedDevice>> probe(const std::string& kind, DeviceLister lister, int seconds) {
  std::string what = "--device " + kind;
  using End = platform::Answer::End;
  platform::Answer answer = platform::ask_apart([lister] { return json_text(to_json(lister())); }, seconds);
  switch (answer.end) {
    case End::kNotStarted:
      return Status::error(str(what, ": cannot start a process to ask the driver: ", answer.text));
    case End::kTimedOut:
      return Status::error(str(what, ": the driver did not answer in ", seconds, " seconds; update it"));
    case End::kCrashed:
      return Status::error(
          str(what, ": the driver crashed (", answer.text, ") when asked for its devices; update it"));
    case End::kAnswered: break;
  }
  auto json = parse_json(answer.text, what);
  if (!json.is_ok()) return Status::error(what + ": the driver ended the process that asked it; update it");
  return from_json(*json, what);
}

}  // namespace mlc::runtime
