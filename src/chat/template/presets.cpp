// The conversation presets, whose data is presets.json.
#include <algorithm>

#include "base/strings.h"
#include "chat/template/conversation.h"

namespace mlc {
namespace {

constexpr const char kPresetsJson[] =
#include "chat/presets.inc"
    ;

const Json& presets() {
  static const Json kPresets = [] {
    Result<Json> json = parse_json(kPresetsJson, "presets.json");
    internal_check(json.is_ok(), "presets.json is not JSON");
    return json.value();
  }();
  return kPresets;
}

std::optional<Result<Conversation>> current(std::string_view name) {
  for (const Json& preset : presets()["current"])
    if (find_string(preset, "name") == name) return Conversation::from_json(preset, "presets.json");
  return std::nullopt;
}

std::optional<Result<Conversation>> of_2023(std::string_view name, int32_t bos_token_id) {
  for (const Json& entry : presets()["2023"]) {
    const Json& preset = entry["conv_template"];
    const Json* also = find(entry, "also");
    bool alias = also && std::find(also->begin(), also->end(), std::string(name)) != also->end();
    if (!alias && find_string(preset, "name") != name) continue;
    Result<Conversation> conversation = Conversation::from_json(preset, "presets.json");
    if (conversation.is_ok() && find_bool(entry, "add_bos").value_or(false))
      conversation->system_prefix_token_ids = {bos_token_id};
    return conversation;
  }
  return std::nullopt;
}

Status unknown_preset(std::string_view name) {
  std::vector<std::string> names = preset_names(), older = preset_names_2023();
  names.insert(names.end(), older.begin(), older.end());
  return Status::error(str("conversation template '", name, "' is not known", did_you_mean(name, names),
                           "; known ones are ", join(names, ", ")));
}

}  // namespace

Result<Conversation> find_preset(std::string_view name, int32_t bos_token_id) {
  if (auto found = current(name)) return *found;
  if (auto found = of_2023(name, bos_token_id)) return *found;
  return unknown_preset(name);
}

Result<Conversation> find_preset_2023(std::string_view name, int32_t bos_token_id) {
  if (auto found = of_2023(name, bos_token_id)) return *found;
  if (auto found = current(name)) return *found;
  return unknown_preset(name);
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Json& preset : presets()["current"]) names.push_back(find_string(preset, "name").value_or(""));
  return names;
}

std::vector<std::string> preset_names_2023() {
  std::vector<std::string> names, known = preset_names();
  for (const Json& entry : presets()["2023"]) {
    std::string name = find_string(entry["conv_template"], "name").value_or("");
    if (std::find(known.begin(), known.end(), name) == known.end()) names.push_back(name);
  }
  return names;
}

}  // namespace mlc
