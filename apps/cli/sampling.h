// How answers are drawn: the same settings, in the same ranges, as flags of chat and behind /set.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "serve/sample/generation_config.h"

namespace CLI {
class App;
}

namespace mlc::cli {

struct SamplingSetting {
  const char* key;  // of /set; the flag is --key with - for _
  const char* help;
};

// Sorted by key.
std::span<const SamplingSetting> sampling_settings();
std::vector<std::string> sampling_keys();

// A setting that the user gave: "temperature", "0.7".
struct GivenSetting {
  std::string key, value;
};

// A flag for each setting; those given are appended to `given`, which must outlive the parse.
void add_sampling_flags(CLI::App& command, std::vector<GivenSetting>& given);

// Sets one value. `stop` is a comma list, beside the stop strings of `defaults`; "" leaves only those. Errors
// start with `origin` ("--top-p", or "/set top_p") and leave `config` as it is.
Status apply_setting(serve::GenerationConfig& config, const GivenSetting& setting, const std::string& origin,
                     const serve::GenerationConfig& defaults);

}  // namespace mlc::cli
