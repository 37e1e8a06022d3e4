// mlc_llm verify, and --verify of convert_weight: how far two models' predictions are apart.
#include "apps/cli/verify.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <span>

#include "apps/cli/commands.h"
#include "apps/cli/hub_model.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/strings.h"
#include "base/threads.h"
#include "base/user_error.h"
#include "weights/picture.h"
#include "weights/verify.h"
#include "weights/verify_model.h"

namespace mlc::cli {
namespace {

struct Options {
  std::string a, b, text, output, json;
  int64_t positions = weights::kVerifyPositions, window = weights::kVerifyWindow;
  int threads = 0;
};

struct Text {
  std::string name = weights::kVerifyTextName, content = std::string(weights::verify_sample());
};

Result<weights::VerifyReport> compare(const weights::OpenedModel& a, const weights::OpenedModel& b,
                                      const Text& text, int64_t positions, int64_t window, int threads) {
  ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, weights::common_tokens(a, b, text.content));
  const weights::VerifyModel first = a.model(), second = b.model();
  ASSIGN_OR_RETURN(const weights::Windows windows,
                   weights::verify_windows(first, second, tokens, positions, window));
  Progress progress("verifying", weights::verify_bytes(first) + weights::verify_bytes(second));
  return weights::compare_models(first, second, windows, text.name, threads,
                                 [&](int64_t bytes) { progress.add(bytes); });
}

Text read_text(const std::string& path) {
  if (path.empty()) return {};
  auto content = read_file(path);
  if (!content.is_ok()) throw UserError("--text: " + content.status().message());
  return {path, std::move(content).value()};
}

std::unique_ptr<weights::OpenedModel> open(const std::string& named, int threads) {
  const std::string path = value_or_throw(local_model(named, hub::Need::kModel));
  if (!is_directory(path) && !file_exists(path))
    throw UserError(str(named,
                        ": no such file or folder; expected a converted folder, a Hugging Face folder, a "
                        "GGUF file or HF://user/repo"));
  return value_or_throw(weights::OpenedModel::open(path, threads));
}

// Made before the long work, so that a place that cannot be written is found then; nullptr for none.
std::unique_ptr<AtomicFile> begin(const std::string& path) {
  return path.empty() ? nullptr : value_or_throw(AtomicFile::create(path));
}

void finish(AtomicFile* file, const std::string& content) {
  if (!file) return;
  throw_if_error(file->write(std::as_bytes(std::span(content))));
  throw_if_error(file->commit());
}

void run(const Options& options) {
  const auto json = begin(options.json), picture = begin(options.output);
  const int threads = options.threads > 0 ? options.threads : usable_threads();
  const Text text = read_text(options.text);
  const auto a = open(options.a, threads), b = open(options.b, threads);
  for (const weights::OpenedModel* model : {a.get(), b.get()})
    for (const std::string& note : model->notes()) print_note(note);
  const weights::VerifyReport report =
      value_or_throw(compare(*a, *b, text, options.positions, options.window, threads));
  std::printf("source           %s\nconverted        %s\n", printable(options.a).c_str(),
              printable(options.b).c_str());
  std::fputs((weights::verify_text(report) + weights::verify_table(report)).c_str(), stdout);
  const std::string figures =
      json_text(weights::verify_json_by_position(report, options.a, options.b), 2) + "\n";
  finish(json.get(), figures);
  finish(picture.get(), weights::verify_picture(report));
}

}  // namespace

Result<weights::VerifyReport> verify(const weights::ModelSource& source, const QuantScheme& scheme,
                                     const std::string& folder, int threads) {
  if (frontend::gives_embeddings(source.config))
    return Status::error(
        str("--verify: ", source.config_path,
            " is of a model that gives embeddings, and logits are compared; leave the flag out"));
  ASSIGN_OR_RETURN(const auto a, weights::OpenedModel::of_source(source, threads));
  ASSIGN_OR_RETURN(const auto b, weights::OpenedModel::of_folder(folder, source.config, scheme, threads));
  auto report = compare(*a, *b, {}, weights::kVerifyPositions, weights::kVerifyWindow, threads);
  if (!report.is_ok()) return Status::error("--verify: " + report.status().message());
  RETURN_IF_ERROR(weights::write_verify_report(folder, *report));
  RETURN_IF_ERROR(write_file(path_join(folder, weights::kVerifyPicture), weights::verify_picture(*report)));
  return report;
}

void add_verify(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("verify",
                         "Compare the predictions of two models on a text: KL divergence, same most "
                         "likely token, perplexity");
  command
      ->add_option("source", options->a,
                   "The model to be like: a converted folder, a Hugging Face folder, a "
                   "GGUF file or HF://user/repo")
      ->required();
  command->add_option("converted", options->b, "The model to judge, the same")->required();
  command->add_option("--text", options->text, "Text file to judge on; default: a text that is built in");
  command->add_option("--positions", options->positions, "Predictions to compare, at most; default: 4096")
      ->check(whole_number(1, 1 << 20));
  command
      ->add_option(
          "--window", options->window,
          "Tokens of text that a prediction may see, at most; default: 2048, or what both models take")
      ->check(whole_number(2, 1 << 20));
  command->add_option("-o,--output", options->output,
                      "PNG file: a picture of the KL divergence along the text");
  command->add_option("--json", options->json, "JSON file: the figures, of every position too");
  command->add_option("--threads", options->threads, "Threads; default: all cores")
      ->check(CLI::Range(1, 1024));
  command->callback([options] { run(*options); });
}

}  // namespace mlc::cli
