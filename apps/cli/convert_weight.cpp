// mlc_llm convert_weight: a checkpoint becomes a folder of quantized shards.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>

#include "apps/cli/checkpoint.h"
#include "apps/cli/commands.h"
#include "apps/cli/hub_model.h"
#include "apps/cli/verify.h"
#include "base/env.h"
#include "base/progress.h"
#include "base/strings.h"
#include "base/threads.h"
#include "base/user_error.h"
#include "formats/md5.h"
#include "weights/convert.h"
#include "weights/import.h"
#include "weights/journal.h"
#include "weights/quantize/calibrate.h"
#include "weights/quantize/calibration.h"
#include "weights/ranks.h"
#include "weights/source.h"

namespace mlc::cli {
namespace {

struct Options {
  CheckpointFlags checkpoint;
  std::string device = "auto", output, calibration;
  bool plan = false, verify = false;
};

void check_flags(const Options& options) {
  if (options.verify && !env::preshard_num().empty())
    throw UserError(str("--verify: weights split for ranks (", env::kPreshardNum,
                        ") cannot be run whole; unset one of the two"));
  if (!options.calibration.empty() && options.checkpoint.quantizer == "mlc")
    throw UserError("--calibration: --quantizer mlc reads no text; add --quantizer good or best");
  if (options.output.empty() && !options.plan) throw UserError("--output: missing; give the folder to write");
  if (options.device != "auto" && options.device.substr(0, 3) != "cpu")
    print_note(str("--device ", options.device, ": weights are converted on the CPU"));
}

// The plan of CONFIG alone needs no weights where there are none.
weights::ModelSource open(Options& options) {
  std::string& model = options.checkpoint.source.config;
  model = value_or_throw(local_model(model, options.plan ? hub::Need::kConfig : hub::Need::kModel));
  auto source = weights::open_source(options.checkpoint.source);
  if (source.is_ok() || !options.plan || options.checkpoint.source.source != "auto" ||
      !options.checkpoint.source.lora_adapter.empty())
    return value_or_throw(std::move(source));
  weights::SourceOptions without = options.checkpoint.source;
  without.with_checkpoint = false;
  auto config_only = weights::open_source(without);
  if (!config_only.is_ok()) throw UserError(source.status().message());
  print_note("planned from the config alone: " + source.status().message());
  return value_or_throw(std::move(config_only));
}

weights::Plan plan_of(const weights::ModelSource& source, const QuantScheme& scheme, const Options& options,
                      int threads) {
  throw_if_error(weights::check_quantization(source, scheme));
  frontend::BuiltModel model = frontend::build_model(source.config, scheme);
  int ranks =
      env::preshard_num().empty() ? 0 : value_or_throw(weights::parse_rank_count(env::preshard_num()));
  std::string what = source.checkpoint ? source.checkpoint->files()[0] : source.config_path;
  if (source.checkpoint && source.checkpoint->files().size() > 1)
    what = str(source.folder, " (", source.checkpoint->files().size(), " files)");
  return value_or_throw(weights::make_plan(
      model.parameters, model.unused_sources, scheme, source.checkpoint.get(), what,
      {.threads = threads, .ranks = ranks, .ignore_extra = options.checkpoint.ignore_extra}));
}

void print_result(const weights::Plan& plan, const weights::ConvertResult& result, double seconds) {
  if (result.kept_shards > 0) std::printf("Shards kept from an interrupted run: %d\n", result.kept_shards);
  std::printf("Parameter size after quantization: %.3f GB\n", plan.index.param_bytes / (1 << 30));
  std::printf("Total parameters: %lld\n", static_cast<long long>(plan.source_elements));
  std::printf("Bits per parameter: %.3f\n", plan.index.bits_per_param);
  std::printf("Wrote %zu shards, %s, in %.2f s\n", plan.index.shards.size(),
              human_bytes(static_cast<double>(plan.output_bytes())).c_str(), seconds);
}

// What a calibration leaves, and a text that tells it from others.
struct Choice {
  std::unique_ptr<weights::ChosenRows> rows;
  std::string text;
};

Choice choose(const weights::ModelSource& source, const weights::Plan& plan, const Options& options,
              weights::Quantizer quantizer, int threads) {
  weights::Windows windows = value_or_throw(weights::calibration_windows(source, options.calibration));
  Choice choice;
  choice.text = str(" ", weights::name_of(quantizer), " ", md5(std::as_bytes(std::span(windows.tokens))));
  Progress progress("calibrating", weights::calibrate_bytes(plan, quantizer));
  choice.rows = value_or_throw(weights::calibrate(
      source.config, plan, *source.checkpoint, windows,
      {.quantizer = quantizer,
       .threads = threads,
       .folder = options.output,
       .fingerprint = weights::conversion_fingerprint(plan, *source.checkpoint) + choice.text,
       .progress = [&](int64_t bytes) { progress.add(bytes); }}));
  return choice;
}

std::string shown_count(int64_t parameters) {
  char text[32];
  const auto n = static_cast<double>(parameters);
  std::snprintf(text, sizeof text, n < 1e9 ? "%.3gM" : "%.3gB", n < 1e9 ? n / 1e6 : n / 1e9);
  return text;
}

// The choice where the user left it to us. A model that cannot be read along a text is packed by mlc.
Choice choose_by_size(const weights::ModelSource& source, const weights::Plan& plan, const Options& options,
                      int threads) {
  const std::string& model = options.checkpoint.source.config;
  const std::string size = str(" parameters (this one has ", shown_count(plan.source_elements), ")");
  if (weights::quantizer_by_size(plan) == weights::Quantizer::kMlc) {
    if (plan.source_elements > weights::kGoodParameters && weights::check_choosable(plan.scheme).is_ok())
      print_line(str(model, ": --quantizer mlc, as for models of more than 3B", size,
                     "; good takes longer and loses less"));
    return {};
  }
  std::string reason;
  try {
    print_line(
        str(model, ": --quantizer good, as for models of up to 3B", size, "; mlc is faster and loses more"));
    return choose(source, plan, options, weights::Quantizer::kGood, threads);
  } catch (const UserError& e) {
    reason = e.what();
  }
  print_note(str("--quantizer mlc instead of good: ", reason));
  return {};
}

void convert(Options options) {
  check_flags(options);
  const std::optional<std::string>& named = options.checkpoint.quantizer;
  weights::Quantizer quantizer =
      named ? value_or_throw(weights::parse_quantizer(*named)) : weights::Quantizer::kMlc;
  QuantScheme scheme = value_or_throw(find_quant_scheme(options.checkpoint.quantization));
  int threads = options.checkpoint.threads > 0 ? options.checkpoint.threads : usable_threads();
  weights::ModelSource source = open(options);
  for (const std::string& note : source.config.notes) print_note(note);
  weights::Plan plan = plan_of(source, scheme, options, threads);
  for (const std::string& note : plan.notes) print_note(note);
  if (options.plan) {
    std::fputs(weights::plan_text(plan).c_str(), stdout);
    return;
  }
  clean_up_on_interrupt("\ninterrupted; finished shards are kept, run the same command again to go on\n");
  auto start = std::chrono::steady_clock::now();
  weights::ConvertResult result;
  Choice choice;
  if (!named)
    choice = choose_by_size(source, plan, options, threads);
  else if (quantizer != weights::Quantizer::kMlc)
    choice = choose(source, plan, options, quantizer, threads);
  {
    Progress progress("converting", plan.output_bytes());
    result = value_or_throw(weights::convert(plan, *source.checkpoint, options.output,
                                             {.threads = threads,
                                              .progress = [&](int64_t bytes) { progress.add(bytes); },
                                              .quantizer = choice.rows.get(),
                                              .choice = choice.text}));
  }
  weights::ChosenFile::remove(options.output);  // also what an interrupted run of another choice left
  for (const std::string& note : result.notes) print_note(note);
  print_result(plan, result, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  if (!options.verify) return;
  weights::VerifyReport report = value_or_throw(verify(source, scheme, options.output, threads));
  std::fputs((weights::verify_text(report) + weights::verify_table(report)).c_str(), stdout);
}

}  // namespace

void convert_weight(const CheckpointFlags& flags, const std::string& output) {
  Options options;
  options.checkpoint = flags, options.output = output;
  convert(options);
}

void add_convert_weight(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CheckpointFlags& checkpoint = options->checkpoint;
  checkpoint.quantizer = "mlc";
  CLI::App* command = app.add_subcommand("convert_weight", "Quantize a checkpoint into MLC's weight files");
  command->add_option("config", checkpoint.source.config, "Model folder, its config.json, or a GGUF file")
      ->required();
  command->add_option("--quantization", checkpoint.quantization, "Quantization, for example q4f16_1")
      ->required();
  add_model_type_flag(*command, checkpoint.source.model_type);
  command->add_option("--device", options->device,
                      "Accepted for compatibility; weights are converted on the CPU");
  add_weight_flags(*command, checkpoint);
  command->add_option("-o,--output", options->output, "Folder to write; created");
  command->add_option("--lora-adapter", checkpoint.source.lora_adapter,
                      "Folder of a PEFT adapter that is merged into the weights first");
  command->add_option(
      "--quantizer", checkpoint.quantizer,
      "How codes are chosen: mlc (the original's bytes), good (by a calibration text, seconds) or best "
      "(layer by layer, minutes); the files have the same form and size");
  command->add_option("--calibration", options->calibration,
                      "Text file for --quantizer good and best; default: a text that is built in");
  command->add_flag("--plan", options->plan,
                    "Print tensors, shards, sizes and peak memory; read and write no weights");
  command->add_flag("--verify", options->verify,
                    "Then compare predictions with the source's on a text; stored beside the weights");
  command->add_option("--threads", checkpoint.threads, "Threads; default: all cores")
      ->check(CLI::Range(1, 1024));
  command->callback([options] { convert(*options); });
}

}  // namespace mlc::cli
