// mlc_llm calibrate: measures what the inputs of linears in 8-bit floats are scaled by.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "apps/cli/commands.h"
#include "apps/cli/session.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/strings.h"
#include "base/threads.h"
#include "base/user_error.h"
#include "chat/tokenizer/tokenizer.h"
#include "frontend/model.h"
#include "weights/quantize/dataset.h"
#include "weights/quantize/input_scales.h"

namespace mlc::cli {
namespace {

struct Options {
  std::string model, device = "auto", library, output, dataset, overrides;
  int64_t samples = 16;
  uint64_t seed = 0;
};

// The model's windows hold no more than its context.
int64_t longest_window(const frontend::ModelConfig& config) {
  const int64_t context = config.get_int("context_window_size");
  return config.sliding_window_size > 0 ? config.sliding_window_size : context;
}

void note_unused(const Options& options) {
  if (options.device != "auto" && options.device.substr(0, 3) != "cpu")
    print_note(str("--device ", options.device, ": scales are measured on the CPU"));
  if (!options.library.empty())
    print_note(str("--model-lib ", options.library, ": not needed, the model is computed without a library"));
  if (!options.overrides.empty())
    print_note(
        str("--overrides ", options.overrides, ": not needed, the text is read whole, without a server"));
}

void calibrate(const Options& options) {
  note_unused(options);
  const std::string path = path_join(options.model, "mlc-chat-config.json");
  const Json mlc = value_or_throw(read_json_file(path));
  const QuantScheme scheme = value_or_throw(find_quant_scheme(find_string(mlc, "quantization").value_or("")));
  const frontend::ModelConfig config = value_or_throw(frontend::parse_mlc_config(mlc, "auto", path));
  const ChatTemplate chat_template = value_or_throw(open_template(mlc, path));
  const auto tokenizer = value_or_throw(Tokenizer::load(options.model));
  const weights::Windows windows =
      value_or_throw(weights::dataset_windows(options.dataset, *tokenizer, chat_template,
                                              {.samples = options.samples,
                                               .seed = options.seed,
                                               .context = longest_window(config),
                                               .vocab = frontend::model_shape(config).vocab}));
  clean_up_on_interrupt("\ninterrupted; the output is as it was\n");
  weights::InputScales scales;
  {
    Progress progress("calibrating", weights::count_input_scales(config, scheme));
    scales = value_or_throw(weights::measure_input_scales(
        config, scheme, options.model, windows, usable_threads(), [&](int64_t done) { progress.add(done); }));
  }
  throw_if_error(weights::write_input_scales(options.output, scales));
  std::printf("Wrote %zu scales of inputs to %s, measured on %zu conversations, %lld tokens\n", scales.size(),
              printable(options.output).c_str(), windows.count(), static_cast<long long>(windows.rows()));
}

}  // namespace

void add_calibrate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "calibrate",
      "Measure the scales that inputs have in 8-bit floats, and write them into converted weights");
  command
      ->add_option("model", options->model,
                   "Folder converted with e4m3_e4m3_f16_max_calibrate or e4m3_e4m3_f16")
      ->required();
  command->add_option("--device", options->device, "Scales are measured on the CPU");
  command->add_option("--model-lib", options->library, "Not needed");
  command
      ->add_option("-o,--output", options->output,
                   "Folder converted with e4m3_e4m3_f16, whose scales are set")
      ->required();
  command->add_option("--dataset", options->dataset, "Conversations in ShareGPT's JSON")->required();
  command->add_option("--num-calibration-samples", options->samples, "Conversations to draw")
      ->check(whole_number(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of the draw")->capture_default_str();
  command->add_option("--overrides", options->overrides, "Not needed");
  command->callback([options] { calibrate(*options); });
}

}  // namespace mlc::cli
