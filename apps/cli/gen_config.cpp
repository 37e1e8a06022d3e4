// mlc_llm gen_config: mlc-chat-config.json and the tokenizer files.
#include "weights/gen_config.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/cli/checkpoint.h"
#include "apps/cli/commands.h"
#include "apps/cli/hub_model.h"
#include "apps/cli/knobs.h"
#include "base/strings.h"

namespace mlc::cli {

std::string gen_config(const CheckpointFlags& flags, const std::string& output) {
  weights::SourceOptions from = flags.source;
  from.with_checkpoint = false;
  from.config = value_or_throw(local_model(from.config, hub::Need::kConfig));
  weights::GenConfigOptions options{flags.quantization, flags.conv_template, flags.config};
  if (!options.overrides.max_batch_size) options.overrides.max_batch_size = 128;
  weights::ModelSource source = value_or_throw(weights::open_source(from));
  clean_up_on_interrupt("\ninterrupted\n");
  weights::GeneratedConfig result = value_or_throw(weights::generate_config(source, options, output));
  for (const std::string& note : result.notes) print_note(note);
  return printable(str("Wrote ", output, "/mlc-chat-config.json: ", source.config.model_type, ", ",
                       result.config["quantization"].get<std::string>(), ", context ",
                       result.config["context_window_size"].get<int64_t>(), ", chat template ",
                       find_string(result.config["conv_template"], "name").value_or("")));
}

void add_gen_config(CLI::App& app) {
  struct Options {
    CheckpointFlags checkpoint;
    std::string output, disaggregation;
  };
  auto options = std::make_shared<Options>();
  CheckpointFlags& checkpoint = options->checkpoint;
  CLI::App* command = app.add_subcommand("gen_config", "Write mlc-chat-config.json and the tokenizer files");
  command
      ->add_option("config", checkpoint.source.config,
                   "Model folder, its config.json, a GGUF file, or HF://user/repo")
      ->required();
  command->add_option("--quantization", checkpoint.quantization, "Quantization, for example q4f16_1")
      ->required();
  add_model_type_flag(*command, checkpoint.source.model_type);
  add_conv_template_flag(*command, checkpoint.conv_template);
  add_config_flags(*command, checkpoint.config);
  command->add_option("--disaggregation", options->disaggregation, "Any non-empty value turns it on");
  command->add_option("-o,--output", options->output, "Folder to write; created")->required();
  command->callback([options] {
    if (!options->disaggregation.empty()) options->checkpoint.config.disaggregation = true;
    std::printf("%s\n", gen_config(options->checkpoint, options->output).c_str());
  });
}

}  // namespace mlc::cli
