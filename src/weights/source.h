// What convert_weight and gen_config are given: the model's config and its checkpoint, wherever they lie.
#pragma once

#include <memory>
#include <string>

#include "base/json.h"
#include "base/status.h"
#include "formats/checkpoint.h"
#include "frontend/config.h"

namespace mlc::weights {

struct ModelSource {
  std::string config_path;  // config.json, or the GGUF file that holds its content
  bool is_gguf = false;     // which of the two, by content
  std::string folder;       // of config_path: tokenizer files lie here
  Json hf_config;           // as Hugging Face's config.json
  frontend::ModelConfig config;
  std::unique_ptr<Checkpoint> checkpoint;  // nullptr when not asked for; always there for GGUF
};

struct SourceOptions {
  std::string config;  // CONFIG: a folder, a config.json, a GGUF file, or weights beside a config.json
  std::string model_type = "auto";  // --model-type
  std::string source =
      "auto";  // --source: weights file, index or folder; auto: by config.json's weight_path, else its folder
  std::string source_format = "auto";  // --source-format
  std::string lora_adapter;            // --lora-adapter: a folder to merge into the checkpoint; "" = none
  bool with_checkpoint = true;
};

// What the files are, their content says. In a folder a config.json that cannot be read gives way to the only
// GGUF model. The checkpoint's notes are among config.notes. Errors name the flag or file.
Result<ModelSource> open_source(const SourceOptions& options);

}  // namespace mlc::weights
