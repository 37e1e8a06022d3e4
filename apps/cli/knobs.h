// "key=value;key=value" strings of --overrides and /set, and the configs that flags and --overrides change.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "frontend/config.h"

namespace CLI {
class App;
}

namespace mlc::cli {

// "--top-p" for "top_p".
std::string flag_of(std::string key);

using Knobs = std::map<std::string, std::string>;

// Errors name the flag, the key and the nearest of `keys`. Other spellings of MLC LLM's documents are taken
// too (sliding_window for sliding_window_size).
Result<Knobs> parse_knobs(const std::string& text, const std::string& flag,
                          const std::vector<std::string>& keys);
// `subject` starts the sentence: "--seed", "/set: key 'seed'".
Result<int64_t> knob_int(const std::string& subject, const std::string& value);
Result<double> knob_number(const std::string& subject, const std::string& value);

// --opt: O0 to O3, or knobs.
void add_opt_flag(CLI::App& command, std::string& opt);
// The level that --opt means; notes that knobs change nothing here.
Result<int> opt_level(const std::string& opt);

// A number of mlc-chat-config.json that gen_config and chat have a flag for ("--context-window-size") and
// compile and chat a key of --overrides.
struct ConfigKey {
  const char* name;
  std::optional<int64_t> frontend::ConfigOverrides::* value;
  const char* help;
};
std::span<const ConfigKey> config_keys();
// A flag for each key.
void add_config_flags(CLI::App& command, frontend::ConfigOverrides& values);
// The keys of compile's --overrides (mlc-facts 1.3).
std::vector<std::string> override_keys();

// A number that the user sets; `origin` starts errors about it.
struct ConfigChange {
  std::string key;
  int64_t value;
  std::string origin;  // "--context-window-size", "--overrides: context_window_size"
};
// What flags and --overrides ask for together. Errors: no number, out of range, not built yet, and two values
// for one key.
Result<std::vector<ConfigChange>> config_changes(const frontend::ConfigOverrides& flags,
                                                 const Knobs& overrides);

// Lays the changes over an mlc-chat-config.json, top level and model_config, and reads what comes out. Errors
// name `what` where the config is at fault without the changes too, else the flags.
Result<frontend::ModelConfig> change_config(Json& config, const std::vector<ConfigChange>& changes,
                                            const std::string& what);

// The mlc-chat-config.json of a folder or file; `path` receives its name.
Result<Json> read_mlc_config(const std::string& model, std::string& path);

}  // namespace mlc::cli
