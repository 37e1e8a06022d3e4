// Reads modules.json and the pooling's config.
#include "weights/sentence_transformers.h"

#include "base/file.h"
#include "base/strings.h"
#include "chat/tokenizer/tokenizer_json.h"

namespace mlc::weights {
namespace {

constexpr const char* kModules = "modules.json";

struct PoolingMode {
  const char* key;
  const char* strategy;  // nullptr: not built
};
constexpr PoolingMode kModes[] = {
    {"pooling_mode_cls_token", "cls"},
    {"pooling_mode_mean_tokens", "mean"},
    {"pooling_mode_lasttoken", "last"},
    {"pooling_mode_max_tokens", nullptr},
    {"pooling_mode_mean_sqrt_len_tokens", nullptr},
    {"pooling_mode_weightedmean_tokens", nullptr},
};

// The folder of a module, "" for the model's own; never outside of it.
Result<std::string> folder_of_module(const Json& module, const std::string& folder, const std::string& file) {
  const std::string path = find_string(module, "path").value_or("");
  if (path.starts_with("/") || path.find("..") != std::string::npos)
    return Status::error(str(file, ": path ", shown(path), ", expected a folder beside the file"));
  return path_join(folder, path);
}

Result<std::string> pooling_strategy(const std::string& path) {
  ASSIGN_OR_RETURN(Json config, read_json_file(path));
  std::string strategy;
  for (const PoolingMode& mode : kModes) {
    if (find_bool(config, mode.key) != true) continue;
    if (!mode.strategy)
      return Status::error(
          str(path, ": ", mode.key, " is not built, expected the first token, the mean or the last"));
    if (!strategy.empty())
      return Status::error(str(path, ": several poolings side by side are not built, expected one"));
    strategy = mode.strategy;
  }
  if (find_bool(config, "include_prompt") == false)
    return Status::error(
        str(path, ": include_prompt is false, which is not built: all tokens of a text count"));
  if (strategy.empty()) return Status::error(str(path, ": no pooling_mode is true, expected one"));
  return strategy;
}

}  // namespace

bool is_sentence_transformer(const std::string& folder) {
  const std::string path = path_join(folder, kModules);
  if (!file_exists(path)) return false;
  auto modules = read_json_file(path);
  if (!modules.is_ok() || !modules->is_array()) return false;
  for (const Json& module : *modules)
    if (find_string(module, "type").value_or("").ends_with(".Pooling")) return true;
  return false;
}

Result<Json> embedding_metadata(const std::string& folder, bool encoder) {
  Json metadata = {{"model_type", encoder ? "encoder" : "decoder"},
                   {"pooling_strategy", encoder ? "cls" : "last"},
                   {"normalize", true}};
  const std::string file = path_join(folder, kModules);
  if (!file_exists(file)) return metadata;
  ASSIGN_OR_RETURN(Json modules, read_json_file(file));
  if (!modules.is_array())
    return Status::error(str(file, ": found ", modules.type_name(), ", expected a list of modules"));
  metadata["normalize"] = false;
  for (const Json& module : modules) {
    const std::string type = find_string(module, "type").value_or("");
    if (type.ends_with(".Transformer")) continue;
    if (type.ends_with(".Normalize")) {
      metadata["normalize"] = true;
    } else if (type.ends_with(".Pooling")) {
      ASSIGN_OR_RETURN(std::string at, folder_of_module(module, folder, file));
      ASSIGN_OR_RETURN(metadata["pooling_strategy"], pooling_strategy(path_join(at, "config.json")));
    } else {
      return Status::error(
          str(file, ": module ", shown(type), " is not built, expected Transformer, Pooling and Normalize"));
    }
  }
  return metadata;
}

}  // namespace mlc::weights
