// Knob strings, and configs under them.
#include "apps/cli/knobs.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/file.h"
#include "base/strings.h"

namespace mlc::cli {

Result<Knobs> parse_knobs(const std::string& text, const std::string& flag, const std::vector<std::string>& keys) {
  Knobs knobs;
  for (const std::string& part : split(text, ';')) {
    if (trim(part).empty()) continue;
    size_t equals = part.find('=');
    std::string key(trim(part.substr(0, equals)));
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      return Status::error(str(flag, ": unknown key '", key, "', expected one of ", join(keys, ", "), did_you_mean(key, keys)));
    if (equals == std::string::npos) return Status::error(str(flag, ": key '", key, "' has no value, expected ", key, "=VALUE"));
    knobs[key] = std::string(trim(part.substr(equals + 1)));
  }
  return knobs;
}

Result<int64_t> knob_int(const std::string& flag, const std::string& key, const std::string& value) {
  int64_t number = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size())
    return Status::error(str(flag, ": key '", key, "' has '", value, "', expected an integer"));
  return number;
}

Result<double> knob_number(const std::string& flag, const std::string& key, const std::string& value) {
  double number = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || !std::isfinite(number))
    return Status::error(str(flag, ": key '", key, "' has '", value, "', expected a number"));
  return number;
}

std::vector<std::string> config_knobs() {
  return {"attention_sink_size",  "context_window_size",  "disaggregation",         "max_batch_size",
          "pipeline_parallel_stages", "prefill_chunk_size", "sliding_window_size", "tensor_parallel_shards"};
}

Status apply_config_knobs(const Knobs& knobs, Json& config) {
  for (const auto& [key, value] : knobs) {
    if (key == "disaggregation") {
      bool on = value == "true" || value == "1" || value == "yes";
      if (on) return Status::error("--overrides: disaggregation is not built yet");
      continue;
    }
    ASSIGN_OR_RETURN(int64_t number, knob_int("--overrides", key, value));
    constexpr int64_t kMost = int64_t{1} << 31;
    const int64_t least = key == "attention_sink_size" ? 0 : 1;
    if (number < -1 || (number != -1 && number < least) || number > kMost)
      return Status::error(str("--overrides: key '", key, "' has ", number, ", expected ", least, "..", kMost,
                               " (or -1 for none)"));
    if ((key == "tensor_parallel_shards" || key == "pipeline_parallel_stages") && number != 1)
      return Status::error(str("--overrides: ", key, "=", number, " is not built yet, expected 1"));
    if (config.contains(key)) config[key] = number;
    if (config.contains("model_config") && config["model_config"].contains(key)) config["model_config"][key] = number;
    if (!config.contains(key) && !(config.contains("model_config") && config["model_config"].contains(key))) config[key] = number;
  }
  return Status::ok();
}

Result<Json> read_mlc_config(const std::string& model, std::string& path) {
  path = is_directory(model) ? path_join(model, "mlc-chat-config.json") : model;
  if (!file_exists(path))
    return Status::error(str(model, ": no mlc-chat-config.json found, expected a folder written by `mlc_llm gen_config`; "
                                    "run `mlc_llm gen_config` first"));
  ASSIGN_OR_RETURN(Json config, read_json_file(path));
  if (!config.is_object()) return Status::error(path + ": expected a JSON object written by `mlc_llm gen_config`");
  return config;
}

}  // namespace mlc::cli
