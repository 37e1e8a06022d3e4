// Finds config.json and the checkpoint for the flags of convert_weight and gen_config.
#include "weights/source.h"

#include <algorithm>
#include <filesystem>

#include "base/file_kind.h"
#include "base/strings.h"
#include "formats/gguf_keys.h"
#include "formats/weight_files.h"
#include "weights/sentence_transformers.h"

namespace mlc::weights {
namespace {

std::string folder_of(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// A folder's config: its config.json, else its GGUF model, opened, else a converted model's config.
Status find_config_in(const std::string& folder, ModelSource& source) {
  std::string config = path_join(folder, "config.json");
  Status problem =
      Status::error(str("CONFIG: ", folder, " holds no config.json and no GGUF file; give a model folder"));
  if (file_exists(config)) {
    auto json = read_json_file(config);
    if (json.is_ok()) {
      source.config_path = config;
      source.hf_config = std::move(*json);
      return Status::ok();
    }
    problem = json.status();
  }
  if (FoundWeights weights = find_weights(folder); !weights.ggufs.empty()) {
    auto gguf = Checkpoint::open(folder, SourceFormat::kGguf);
    if (gguf.is_ok()) {
      if (file_exists(config))
        (*gguf)->add_note(str(problem.message(), "; using ", (*gguf)->files()[0], " instead"));
      source.config_path = (*gguf)->files()[0];
      source.is_gguf = true;
      source.checkpoint = std::move(*gguf);
      return Status::ok();
    }
    if (!file_exists(config)) problem = gguf.status();
  }
  if (std::string converted = path_join(folder, "mlc-chat-config.json");
      !file_exists(config) && file_exists(converted)) {
    source.config_path = converted;
    ASSIGN_OR_RETURN(source.hf_config, read_json_file(converted));
    return Status::ok();
  }
  return problem;
}

// A file given as CONFIG. Weights and their index stand for the config.json beside them; `weights` names them
// then.
Status find_config_of(const std::string& file, ModelSource& source, std::string& weights) {
  ASSIGN_OR_RETURN(FileKind kind, probe_file(file));
  source.config_path = file;
  source.is_gguf = kind == FileKind::kGguf;
  if (source.is_gguf) return Status::ok();
  bool holds_weights = kind == FileKind::kSafetensors || kind == FileKind::kZip;
  if (!holds_weights) {
    ASSIGN_OR_RETURN(source.hf_config, read_json_file(file));
    holds_weights = find(source.hf_config, "weight_map") != nullptr;
  }
  if (!holds_weights) return Status::ok();
  weights = file;
  source.config_path = path_join(folder_of(file), "config.json");
  if (!file_exists(source.config_path))
    return Status::error(
        str("CONFIG: ", file, " holds weights alone and no config.json is beside it; give a model folder"));
  ASSIGN_OR_RETURN(source.hf_config, read_json_file(source.config_path));
  return Status::ok();
}

Result<std::string> weights_path(const ModelSource& source, const std::string& flag) {
  if (flag != "auto") {
    if (!file_exists(flag) && !is_directory(flag))
      return Status::error(str("--source: ", flag, " does not exist"));
    return flag;
  }
  if (auto path = find_string(source.hf_config, "weight_path")) return path_join(source.folder, *path);
  return source.folder;
}

// The config of a GGUF file, with notes on its keys that are not applied.
Result<Json> read_gguf_config(const Checkpoint& checkpoint, const std::string& path,
                              std::vector<std::string>& notes) {
  ASSIGN_OR_RETURN(Json config, checkpoint.gguf_config());
  RETURN_IF_ERROR(check_gguf_keys(*checkpoint.gguf(), config, path, notes));
  return config;
}

// The config out of a GGUF file, and the checkpoint: that file, or what --source names.
Status open_gguf(ModelSource& source, const std::string& weights, SourceFormat format,
                 std::vector<std::string>& notes) {
  if (!source.checkpoint) {
    ASSIGN_OR_RETURN(source.checkpoint, Checkpoint::open(source.config_path, SourceFormat::kGguf));
  }
  const bool own_weights =
      weights == "auto" && (format == SourceFormat::kAuto || format == SourceFormat::kGguf);
  if (!own_weights) {
    ASSIGN_OR_RETURN(auto named, Checkpoint::open(weights == "auto" ? source.config_path : weights, format));
    if (named->format() != SourceFormat::kGguf) {
      ASSIGN_OR_RETURN(source.hf_config, read_gguf_config(*source.checkpoint, source.config_path, notes));
      source.checkpoint = std::move(named);
      return Status::ok();
    }
    source.checkpoint = std::move(named);
  }
  ASSIGN_OR_RETURN(source.hf_config, read_gguf_config(*source.checkpoint, source.config_path, notes));
  return Status::ok();
}

// AutoGPTQ's older checkpoints describe their packing in a file of its own.
Status add_quantize_config(ModelSource& source) {
  const std::string file = path_join(source.folder, "quantize_config.json");
  if (source.is_gguf || !source.hf_config.is_object() || source.hf_config.contains("quantization_config") ||
      source.hf_config.contains("model_config") || !file_exists(file))
    return Status::ok();
  ASSIGN_OR_RETURN(Json packing, read_json_file(file));
  if (!packing.is_object()) return Status::error(str(file, ": expected an object with bits and group_size"));
  if (!packing.contains("quant_method")) packing["quant_method"] = "gptq";
  source.hf_config["quantization_config"] = std::move(packing);
  return Status::ok();
}

// Where the folder says so, a decoder for embeddings: its config states the type of the decoder.
std::string model_type_of(const ModelSource& source, const SourceOptions& options) {
  if (options.model_type != "auto" || source.is_gguf) return options.model_type;
  const std::string type = find_string(source.hf_config, "model_type").value_or("") + "-embedding";
  const std::vector<std::string> known = frontend::model_types();
  const bool embeds = std::ranges::find(known, type) != known.end() && is_sentence_transformer(source.folder);
  return embeds ? type : options.model_type;
}

}  // namespace

Result<ModelSource> open_source(const SourceOptions& options) {
  ModelSource source;
  ASSIGN_OR_RETURN(SourceFormat format, parse_source_format(options.source_format));
  std::string weights = options.source, given;
  std::vector<std::string> notes;
  if (is_directory(options.config)) {
    RETURN_IF_ERROR(find_config_in(options.config, source));
  } else if (file_exists(options.config)) {
    RETURN_IF_ERROR(find_config_of(options.config, source, given));
  } else {
    return Status::error(str("CONFIG: ", options.config,
                             " does not exist; expected a model folder, its config.json, or a GGUF file"));
  }
  if (weights == "auto" && !given.empty()) weights = given;
  source.folder = folder_of(source.config_path);
  if (source.is_gguf) {
    RETURN_IF_ERROR(open_gguf(source, weights, format, notes));
  } else if (options.with_checkpoint) {
    ASSIGN_OR_RETURN(weights, weights_path(source, weights));
    ASSIGN_OR_RETURN(source.checkpoint, Checkpoint::open(weights, format));
  }
  RETURN_IF_ERROR(add_quantize_config(source));
  if (source.hf_config.is_object() && source.hf_config.contains("model_config") &&
      source.hf_config.contains("quantization")) {
    ASSIGN_OR_RETURN(source.config,
                     frontend::parse_mlc_config(source.hf_config, options.model_type, source.config_path));
  } else {
    ASSIGN_OR_RETURN(
        source.config,
        frontend::parse_hf_config(source.hf_config, model_type_of(source, options), source.config_path));
  }
  if (source.checkpoint && source.config.packing && !options.lora_adapter.empty())
    return Status::error(
        str("--lora-adapter: the weights are quantized by ", source.config.packing->name,
            ", expected plain ones to merge into; convert the checkpoint they were made from"));
  if (source.checkpoint && source.config.packing)
    RETURN_IF_ERROR(source.checkpoint->add_packed(*source.config.packing));
  if (source.checkpoint && !options.lora_adapter.empty()) {
    auto adapter = read_lora_adapter(options.lora_adapter);
    Status merged = adapter.is_ok()
                        ? source.checkpoint->merge(std::make_shared<LoraAdapter>(std::move(*adapter)))
                        : adapter.status();
    if (!merged.is_ok()) return Status::error("--lora-adapter: " + merged.message());
  }
  if (source.checkpoint)
    notes.insert(notes.end(), source.checkpoint->notes().begin(), source.checkpoint->notes().end());
  source.config.notes.insert(source.config.notes.begin(), notes.begin(), notes.end());
  return source;
}

}  // namespace mlc::weights
