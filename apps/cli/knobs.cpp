// Knob strings, and configs under them.
#include "apps/cli/knobs.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>

#include "apps/cli/commands.h"
#include "base/file.h"
#include "base/strings.h"
#include "compile.h"
#include "weights/config_2023.h"

namespace mlc::cli {
namespace {

constexpr ConfigKey kConfigKeys[] = {
    {"context_window_size", &frontend::ConfigOverrides::context_window_size, "Tokens of context"},
    {"sliding_window_size", &frontend::ConfigOverrides::sliding_window_size,
     "Tokens of the sliding window; -1: none"},
    {"prefill_chunk_size", &frontend::ConfigOverrides::prefill_chunk_size, "Tokens of one prefill step"},
    {"attention_sink_size", &frontend::ConfigOverrides::attention_sink_size,
     "Tokens kept in front of the sliding window"},
    {"tensor_parallel_shards", &frontend::ConfigOverrides::tensor_parallel_shards,
     "Devices that share each layer"},
    {"pipeline_parallel_stages", &frontend::ConfigOverrides::pipeline_parallel_stages,
     "Devices that share the layers"},
    {"max_batch_size", &frontend::ConfigOverrides::max_batch_size, "Sequences at once; default 128"},
};

constexpr std::pair<const char*, const char*> kOtherSpellings[] = {
    {"sliding_window", "sliding_window_size"}, {"tensor_parallel_shard", "tensor_parallel_shards"}};

Status check_range(const ConfigChange& change) {
  constexpr int64_t kMost = int64_t{1} << 31;
  const bool shared = change.key == "tensor_parallel_shards" || change.key == "pipeline_parallel_stages";
  const bool none = change.key.ends_with("_window_size") || change.key == "attention_sink_size";
  const int64_t least = change.key == "attention_sink_size" ? 0 : 1;
  if (!(none && change.value == -1) && (change.value < least || change.value > kMost))
    return Status::error(str(change.origin, " is ", change.value, ", expected ", least, "..", kMost,
                             none ? " (or -1 for none)" : ""));
  if (shared && change.value != 1)
    return Status::error(str(change.origin, "=", change.value, " is not built yet, expected 1"));
  return Status::ok();
}

bool is_unlimited(const ConfigChange& change) {
  return change.key == "context_window_size" && change.value == -1;
}

}  // namespace

std::string flag_of(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  return "--" + key;
}

Result<Knobs> parse_knobs(const std::string& text, const std::string& flag,
                          const std::vector<std::string>& keys) {
  Knobs knobs;
  for (const std::string& part : split(text, ';')) {
    if (trim(part).empty()) continue;
    size_t equals = part.find('=');
    std::string key(trim(part.substr(0, equals)));
    for (const auto& [other, name] : kOtherSpellings)
      if (key == other && std::find(keys.begin(), keys.end(), name) != keys.end()) key = name;
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      return Status::error(str(flag, ": unknown key '", key, "', expected one of ", join(keys, ", "),
                               did_you_mean(key, keys)));
    if (equals == std::string::npos)
      return Status::error(str(flag, ": key '", key, "' has no value, expected ", key, "=VALUE"));
    knobs[key] = std::string(trim(part.substr(equals + 1)));
  }
  return knobs;
}

Result<int64_t> knob_int(const std::string& subject, const std::string& value) {
  int64_t number = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size())
    return Status::error(str(subject, " has '", value, "', expected an integer"));
  return number;
}

Result<double> knob_number(const std::string& subject, const std::string& value) {
  double number = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || !std::isfinite(number))
    return Status::error(str(subject, " has '", value, "', expected a number"));
  return number;
}

void add_opt_flag(CLI::App& command, std::string& opt) {
  command.add_option("--opt", opt,
                     "O0 (floats everywhere) .. O3; knobs such as flashinfer=1;cutlass_attn=0 choose "
                     "libraries of CUDA, which this "
                     "compiler does not use: they are taken and mean O2");
}

Result<int> opt_level(const std::string& opt) {
  ASSIGN_OR_RETURN(int level, parse_opt(opt));
  if (opt.find('=') != std::string::npos)
    print_note(
        str("--opt: its knobs choose libraries of CUDA, which this compiler does not use; compiled with O",
            level));
  return level;
}

std::span<const ConfigKey> config_keys() { return kConfigKeys; }

void add_config_flags(CLI::App& command, frontend::ConfigOverrides& values) {
  for (const ConfigKey& key : kConfigKeys) {
    std::string names = flag_of(key.name);
    if (names.ends_with("-shards"))
      names += "," + names.substr(0, names.size() - 1);  // as newer documents of MLC LLM spell it
    command.add_option(names, values.*key.value, key.help);
  }
}

std::vector<std::string> override_keys() {
  std::vector<std::string> keys = {"disaggregation"};
  for (const ConfigKey& key : kConfigKeys) keys.push_back(key.name);
  std::sort(keys.begin(), keys.end());
  return keys;
}

Result<std::vector<ConfigChange>> config_changes(const frontend::ConfigOverrides& flags,
                                                 const Knobs& overrides) {
  if (auto it = overrides.find("disaggregation"); it != overrides.end())
    if (it->second == "true" || it->second == "1" || it->second == "yes")
      return Status::error("--overrides: disaggregation is not built yet");
  std::vector<ConfigChange> changes;
  for (const ConfigKey& key : kConfigKeys) {
    const std::optional<int64_t>& flag = flags.*key.value;
    if (flag) changes.push_back({key.name, *flag, flag_of(key.name)});
    auto it = overrides.find(key.name);
    if (it == overrides.end()) continue;
    ASSIGN_OR_RETURN(int64_t number, knob_int(str("--overrides: key '", key.name, "'"), it->second));
    if (flag && *flag != number)
      return Status::error(str(flag_of(key.name), " is ", *flag, ", and --overrides has ", key.name, "=",
                               number, "; leave one of them out"));
    if (!flag) changes.push_back({key.name, number, str("--overrides: ", key.name)});
  }
  for (const ConfigChange& change : changes) RETURN_IF_ERROR(check_range(change));
  return changes;
}

Result<frontend::ModelConfig> change_config(Json& config, const std::vector<ConfigChange>& changes,
                                            const std::string& what) {
  const Json before = config;
  std::vector<std::string> origins;
  for (const ConfigChange& change : changes) {
    if (is_unlimited(change)) continue;  // what a window makes of any context
    bool inner = config.contains("model_config") && config["model_config"].contains(change.key);
    if (inner) config["model_config"][change.key] = change.value;
    if (config.contains(change.key) || !inner) config[change.key] = change.value;
    origins.push_back(change.origin);
  }
  const bool slides = find_int(config, "sliding_window_size").value_or(-1) > 0;
  for (const ConfigChange& change : changes)
    if (is_unlimited(change) && !slides)
      return Status::error(
          str(change.origin,
              " is -1 (no limit), which only a model with a sliding window can have; give a number "
              "of tokens, or leave it out for the model's own"));
  auto read = frontend::parse_mlc_config(config, "auto", what);
  if (read.is_ok() || changes.empty()) return read;
  if (auto unchanged = frontend::parse_mlc_config(before, "auto", what); !unchanged.is_ok()) return read;
  read = frontend::parse_mlc_config(config, "auto", join(origins, ", "));
  std::string text = read.status().message();
  constexpr std::string_view kDamaged = "; the config is damaged";
  if (text.ends_with(kDamaged))
    text.replace(text.size() - kDamaged.size(), kDamaged.size(), "; choose another value");
  return Status::error(text);
}

Result<Json> read_mlc_config(const std::string& model, std::string& path) {
  path = is_directory(model) ? path_join(model, "mlc-chat-config.json") : model;
  if (!file_exists(path))
    return Status::error(
        str(model,
            ": no mlc-chat-config.json found, expected a folder written by `mlc_llm gen_config`; "
            "run `mlc_llm gen_config` first"));
  return weights::read_chat_config(path);
}

}  // namespace mlc::cli
