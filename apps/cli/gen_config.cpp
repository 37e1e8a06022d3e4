// mlc_llm gen_config: mlc-chat-config.json and the tokenizer files.
#include "weights/gen_config.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/cli/commands.h"

namespace mlc::cli {
namespace {

struct Options {
  weights::SourceOptions source;
  weights::GenConfigOptions config;
  std::string output, disaggregation;
};

void gen_config(Options& options) {
  options.source.with_checkpoint = false;
  if (!options.config.overrides.max_batch_size) options.config.overrides.max_batch_size = 128;
  if (!options.disaggregation.empty()) options.config.overrides.disaggregation = true;
  weights::ModelSource source = value_or_throw(weights::open_source(options.source));
  clean_up_on_interrupt("\ninterrupted\n");
  weights::GeneratedConfig result = value_or_throw(weights::generate_config(source, options.config, options.output));
  for (const std::string& note : result.notes) print_note(note);
  std::printf("Wrote %s/mlc-chat-config.json: %s, %s, context %lld, chat template %s\n", options.output.c_str(),
              source.config.model_type.c_str(), options.config.quantization.c_str(),
              static_cast<long long>(result.config["context_window_size"].get<int64_t>()),
              result.config["conv_template"].value("name", "").c_str());
}

}  // namespace

void add_gen_config(CLI::App& app) {
  auto options = std::make_shared<Options>();
  frontend::ConfigOverrides& set = options->config.overrides;
  CLI::App* command = app.add_subcommand("gen_config", "Write mlc-chat-config.json and the tokenizer files");
  command->add_option("config", options->source.config, "Model folder, its config.json, or a GGUF file")->required();
  command->add_option("--quantization", options->config.quantization, "Quantization, for example q4f16_1")->required();
  command->add_option("--model-type", options->source.model_type, "Model type; auto: by config.json");
  command->add_option("--conv-template", options->config.conv_template,
                      "Conversation template; default: the checkpoint's own chat template");
  command->add_option("--context-window-size", set.context_window_size, "Tokens of context");
  command->add_option("--sliding-window-size", set.sliding_window_size, "Tokens of the sliding window");
  command->add_option("--prefill-chunk-size", set.prefill_chunk_size, "Tokens of one prefill step");
  command->add_option("--attention-sink-size", set.attention_sink_size, "Tokens kept in front of the sliding window");
  command->add_option("--tensor-parallel-shards", set.tensor_parallel_shards, "Devices that share each layer");
  command->add_option("--pipeline-parallel-stages", set.pipeline_parallel_stages, "Devices that share the layers");
  command->add_option("--disaggregation", options->disaggregation, "Any non-empty value turns it on");
  command->add_option("--max-batch-size", set.max_batch_size, "Sequences at once; default 128");
  command->add_option("-o,--output", options->output, "Folder to write; created")->required();
  command->callback([options] { gen_config(*options); });
}

}  // namespace mlc::cli
