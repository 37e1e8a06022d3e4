// Flags about a checkpoint.
#include "apps/cli/checkpoint.h"

#include <CLI/CLI.hpp>

namespace mlc::cli {

void add_model_type_flag(CLI::App& command, std::string& model_type) {
  command.add_option("--model-type", model_type, "Model type; auto: by the config");
}

void add_conv_template_flag(CLI::App& command, std::string& conv_template) {
  command.add_option("--conv-template", conv_template, "Conversation template; default: the model's own");
}

void add_weight_flags(CLI::App& command, CheckpointFlags& flags) {
  command.add_option("--source", flags.source.source,
                     "Weights: a file, an index, or a folder; auto: beside the config");
  command.add_option("--source-format", flags.source.source_format,
                     "auto, huggingface-torch, huggingface-safetensor, awq or gguf");
  command.add_flag("--ignore-extra", flags.ignore_extra,
                   "Leave out tensors that the model does not need, without a word");
}

}  // namespace mlc::cli
