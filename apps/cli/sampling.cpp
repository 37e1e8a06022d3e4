// Settings by name.
#include "apps/cli/sampling.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "apps/cli/knobs.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

constexpr SamplingSetting kSettings[] = {
    {"frequency_penalty", "-2 to 2: against tokens by how often the answer has them"},
    {"max_tokens", "tokens of an answer at most; -1: as many as the context holds"},
    {"presence_penalty", "-2 to 2: against tokens that the answer has"},
    {"repetition_penalty", "above 0: divides the scores of tokens that the answer has; 1: none"},
    {"seed", "the same seed gives the same answers; absent: another each time"},
    {"stop", "strings that end an answer, separated by commas"},
    {"temperature", "0: always the most likely token; absent: the model's"},
    {"top_p", "0 to 1: the share of the likeliest tokens to draw from; absent: the model's"},
};

Status set(serve::GenerationConfig& config, const GivenSetting& setting, const std::string& origin,
           const serve::GenerationConfig& defaults) {
  const std::pair<const char*, double*> numbers[] = {{"temperature", &config.temperature},
                                                     {"top_p", &config.top_p},
                                                     {"frequency_penalty", &config.frequency_penalty},
                                                     {"presence_penalty", &config.presence_penalty},
                                                     {"repetition_penalty", &config.repetition_penalty}};
  for (const auto& [key, target] : numbers)
    if (setting.key == key) {
      ASSIGN_OR_RETURN(*target, knob_number(origin, setting.value));
      return Status::ok();
    }
  if (setting.key == "stop") {
    config.stop_strings = defaults.stop_strings;
    for (std::string& text : split(setting.value, ','))
      if (!text.empty()) config.stop_strings.push_back(std::move(text));
    return Status::ok();
  }
  ASSIGN_OR_RETURN(int64_t number, knob_int(origin, setting.value));
  if (setting.key == "max_tokens")
    config.max_tokens = number;
  else
    config.seed = static_cast<uint64_t>(number);
  return Status::ok();
}

}  // namespace

std::span<const SamplingSetting> sampling_settings() { return kSettings; }

std::vector<std::string> sampling_keys() {
  std::vector<std::string> keys;
  for (const SamplingSetting& setting : kSettings) keys.push_back(setting.key);
  return keys;
}

void add_sampling_flags(CLI::App& command, std::vector<GivenSetting>& given) {
  for (const SamplingSetting& setting : kSettings)
    command.add_option_function<std::string>(
        flag_of(setting.key),
        [&given, key = setting.key](const std::string& value) { given.push_back({key, value}); },
        setting.help);
}

Status apply_setting(serve::GenerationConfig& config, const GivenSetting& setting, const std::string& origin,
                     const serve::GenerationConfig& defaults) {
  serve::GenerationConfig changed = config;
  RETURN_IF_ERROR(set(changed, setting, origin, defaults));
  // Alone, so that an error is about this value and no other.
  serve::GenerationConfig alone;
  RETURN_IF_ERROR(set(alone, setting, origin, defaults));
  if (Status status = alone.validate(); !status.is_ok()) {
    const std::string& text = status.message();
    return Status::error(origin +
                         (text.starts_with(setting.key) ? text.substr(setting.key.size()) : ": " + text));
  }
  config = std::move(changed);
  return Status::ok();
}

}  // namespace mlc::cli
