// What the commands are told about a checkpoint, declared once, and the two steps that make a converted
// folder of it.
#pragma once

#include <optional>
#include <string>

#include "frontend/config.h"
#include "weights/source.h"

namespace CLI {
class App;
}

namespace mlc::cli {

struct CheckpointFlags {
  weights::SourceOptions source;  // its config: CONFIG or MODEL
  std::string quantization;
  std::string conv_template;             // "": the checkpoint's own
  frontend::ConfigOverrides config;      // numbers over the config's
  std::optional<std::string> quantizer;  // mlc, good or best; nullopt: by the size of the model
  bool ignore_extra = false;
  int threads = 0;  // 0: all cores
};

void add_model_type_flag(CLI::App& command, std::string& model_type);
void add_conv_template_flag(CLI::App& command, std::string& conv_template);
// --source, --source-format and --ignore-extra.
void add_weight_flags(CLI::App& command, CheckpointFlags& flags);

// Writes mlc-chat-config.json and the tokenizer files into `output`; returns a line that says so. Throws
// UserError.
std::string gen_config(const CheckpointFlags& flags, const std::string& output);
// Writes the quantized weights, and says so, and which quantizer the size chose. Throws UserError.
void convert_weight(const CheckpointFlags& flags, const std::string& output);

}  // namespace mlc::cli
