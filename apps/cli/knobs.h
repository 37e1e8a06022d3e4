// "key=value;key=value" strings of --overrides and /set.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"

namespace mlc::cli {

using Knobs = std::map<std::string, std::string>;

// Errors name the flag, the key and the nearest of `keys`.
Result<Knobs> parse_knobs(const std::string& text, const std::string& flag, const std::vector<std::string>& keys);
Result<int64_t> knob_int(const std::string& flag, const std::string& key, const std::string& value);
Result<double> knob_number(const std::string& flag, const std::string& key, const std::string& value);

// The keys of compile's --overrides (mlc-facts 1.3).
std::vector<std::string> config_knobs();
// Lays compile's overrides over an mlc-chat-config.json, top level and model_config.
Status apply_config_knobs(const Knobs& knobs, Json& config);

// The mlc-chat-config.json of a folder or file; `path` receives its name.
Result<Json> read_mlc_config(const std::string& model, std::string& path);

}  // namespace mlc::cli
