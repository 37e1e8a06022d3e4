// Finds config.json and the checkpoint for the flags of convert_weight and gen_config.
#include "weights/source.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/strings.h"
#include "formats/gguf_keys.h"

namespace mlc::weights {
namespace {

std::string folder_of(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// GGUF files of a folder, sorted.
std::vector<std::string> gguf_files(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code code;
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end; it.increment(code))
    if (it->path().extension() == ".gguf") files.push_back(it->path().string());
  std::sort(files.begin(), files.end());
  return files;
}

// CONFIG as a file: config.json or a GGUF file.
Result<std::string> find_config(const std::string& config) {
  if (is_directory(config)) {
    if (std::string path = path_join(config, "config.json"); file_exists(path)) return path;
    std::vector<std::string> files = gguf_files(config);
    if (files.size() == 1) return files[0];
    if (files.size() > 1)
      return Status::error(str("CONFIG: ", config, " holds ", files.size(),
                               " GGUF files, name one of them: ", join(files, ", ")));
    if (std::string path = path_join(config, "mlc-chat-config.json"); file_exists(path)) return path;
    return Status::error(
        str("CONFIG: ", config, " holds no config.json and no GGUF file; give a model folder"));
  }
  if (file_exists(config)) return config;
  return Status::error(
      str("CONFIG: ", config, " does not exist; expected a model folder, its config.json, or a GGUF file"));
}

Result<std::string> find_weights(const ModelSource& source, const std::string& flag) {
  if (flag != "auto") {
    if (!file_exists(flag) && !is_directory(flag))
      return Status::error(str("--source: ", flag, " does not exist"));
    return flag;
  }
  if (auto path = find_string(source.hf_config, "weight_path")) return path_join(source.folder, *path);
  return source.folder;
}

Result<Json> gguf_config(const Checkpoint& checkpoint, const std::string& path,
                         std::vector<std::string>& notes) {
  ASSIGN_OR_RETURN(Json config, checkpoint.gguf_config());
  RETURN_IF_ERROR(check_gguf_keys(*checkpoint.gguf(), config, path, notes));
  return config;
}

}  // namespace

Result<ModelSource> open_source(const SourceOptions& options) {
  ModelSource source;
  ASSIGN_OR_RETURN(source.config_path, find_config(options.config));
  source.folder = folder_of(source.config_path);
  ASSIGN_OR_RETURN(SourceFormat format, parse_source_format(options.source_format));
  std::vector<std::string> notes;
  if (source.config_path.ends_with(".gguf")) {
    std::string weights = options.source == "auto" ? source.config_path : options.source;
    ASSIGN_OR_RETURN(source.checkpoint, Checkpoint::open(weights, format));
    if (source.checkpoint->format() == SourceFormat::kGguf) {
      ASSIGN_OR_RETURN(source.hf_config, gguf_config(*source.checkpoint, source.config_path, notes));
    } else {  // --source names weights of another kind
      ASSIGN_OR_RETURN(auto file, Checkpoint::open(source.config_path, SourceFormat::kGguf));
      ASSIGN_OR_RETURN(source.hf_config, gguf_config(*file, source.config_path, notes));
    }
  } else {
    ASSIGN_OR_RETURN(source.hf_config, read_json_file(source.config_path));
    if (options.with_checkpoint) {
      ASSIGN_OR_RETURN(std::string weights, find_weights(source, options.source));
      ASSIGN_OR_RETURN(source.checkpoint, Checkpoint::open(weights, format));
    }
  }
  if (source.hf_config.is_object() && source.hf_config.contains("model_config") &&
      source.hf_config.contains("quantization")) {
    ASSIGN_OR_RETURN(source.config,
                     frontend::parse_mlc_config(source.hf_config, options.model_type, source.config_path));
  } else {
    ASSIGN_OR_RETURN(source.config,
                     frontend::parse_hf_config(source.hf_config, options.model_type, source.config_path));
  }
  source.config.notes.insert(source.config.notes.begin(), notes.begin(), notes.end());
  return source;
}

}  // namespace mlc::weights
