// What proposals from a text's own past, or of a draft model, gain and cost (serve/speculate): decoding with
// them beside plain decoding, in turn, of one answer at a time.
//
//   ninja -C build bench_speculation
//   build/bench/bench_speculation FOLDER LIBRARY [ROUNDS=5] [TOKENS=256] [DRAFT=16] [WIDTH=1] [DRAFT_FOLDER
//                                 DRAFT_LIBRARY]
//
// FOLDER: converted weights of a model that reads ChatML, as SmolLM2-Instruct; LIBRARY: compiled for them,
// with --tree-verify for a WIDTH above 1. DRAFT: proposals of a step at most; with a minus so many in each
// step, paying or not: what is counted then does not depend on the machine. DRAFT_FOLDER and DRAFT_LIBRARY:
// those of a draft model, which proposes instead of the text's past. The prompts lie in bench/serve/prompts:
// edit_* ask for a text of the prompt with a change, answered greedily; free_* for something new, with
// temperature 1, so that answers do not run in cycles. Prints CSV: by prompt the medians of tokens a second
// of both, of the ratios of each round, the share of proposals that were right, and the steps of the model
// and of the draft model in which an answer was written.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "runtime/devices/registry.h"
#include "serve/engine.h"

namespace mlc {
namespace {

template <typename T>
T must(Result<T> result) {
  if (!result.is_ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Settings {
  int64_t rounds = 5, tokens = 256, draft = 16, width = 1;
  bool adapt = true;
  std::string draft_folder, draft_library;  // "": no draft model
};

struct Run {
  std::vector<int32_t> tokens;
  double tokens_per_second = 0;
  int64_t proposed = 0, right = 0, steps = 0, draft_steps = 0;
};

class Bench {
 public:
  Bench(const std::string& folder, const std::string& library, const Settings& settings)
      : settings_(settings),
        device_(must(runtime::open_device("cpu"))),
        tokenizer_(must(Tokenizer::load(folder))) {
    auto module = must(runtime::Module::load(*device_, library));
    model_ = must(runtime::Model::load(*device_, module, folder,
                                       {.context_tokens = 2048, .max_wanted = 1 + settings.draft}));
    if (settings.draft_folder.empty()) return;
    const auto tokenizer = must(Tokenizer::load(settings.draft_folder));
    draft_ =
        must(runtime::Model::load(*device_, must(runtime::Module::load(*device_, settings.draft_library)),
                                  settings.draft_folder, {.context_tokens = 2048}));
    if (Status status = serve::check_draft(*model_, *tokenizer_, *draft_, *tokenizer, settings.draft_folder);
        !status.is_ok())
      throw std::runtime_error(status.message());
  }

  void run(const std::filesystem::path& path) {
    const std::vector<int32_t> prompt = must(tokenizer_->encode(must(read_file(path.string()))));
    const bool greedy = path.stem().string().starts_with("edit");
    std::vector<double> plain, proposing, ratios;
    int64_t proposed = 0, right = 0;
    for (int64_t i = 0; i <= settings_.rounds; ++i) {
      const Run p = answer(prompt, greedy, serve::SpeculativeMode::kDisable),
                s = answer(prompt, greedy,
                           draft_ ? serve::SpeculativeMode::kSmallDraft : serve::SpeculativeMode::kNgram);
      if (i == 0) continue;  // both are warm then
      plain.push_back(p.tokens_per_second);
      proposing.push_back(s.tokens_per_second);
      ratios.push_back(s.tokens_per_second / p.tokens_per_second);
      proposed += s.proposed, right += s.right;
      if (i == 1) same_ = p.tokens == s.tokens, length_ = p.tokens.size(), last_ = s;
    }
    std::printf("%s,%zu,%zu,%s,%.1f,%.1f,%.3f,%.2f,%lld,%lld\n", path.stem().c_str(), prompt.size(), length_,
                same_ ? "yes" : "no", median(plain), median(proposing), median(ratios),
                proposed > 0 ? static_cast<double>(right) / static_cast<double>(proposed) : 0,
                static_cast<long long>(last_.steps), static_cast<long long>(last_.draft_steps));
    std::fflush(stdout);
  }

 private:
  // A new engine: nothing is kept from one answer to the next.
  Run answer(const std::vector<int32_t>& prompt, bool greedy, serve::SpeculativeMode mode) {
    serve::Engine engine(*model_, tokenizer_,
                         {.max_kept = 0,
                          .speculative_mode = mode,
                          .spec_draft_length = settings_.draft,
                          .spec_tree_width = settings_.width,
                          .adapt_draft_length = settings_.adapt,
                          .draft = draft_.get()});
    Run run;
    serve::Request request{.id = 1, .prompt = prompt, .config = {}, .on_update = {}};
    request.config.temperature = greedy ? 0 : 1;
    request.config.seed = 7;
    request.config.max_tokens = settings_.tokens;
    request.config.stop_token_ids = {2};
    request.on_update = [&](const serve::StreamUpdate& u) {
      if (u.token >= 0) run.tokens.push_back(u.token);
      if (u.finish != serve::FinishReason::kNone)
        run.tokens_per_second = u.metrics.decode_tokens_per_second();
    };
    if (Status added = engine.add_request(std::move(request)); !added.is_ok())
      throw std::runtime_error(added.message());
    while (engine.step()) {
    }
    const serve::EngineMetrics& m = engine.metrics();
    run.proposed = m.draft_tokens, run.right = m.accepted_draft_tokens;
    run.steps = m.steps, run.draft_steps = m.draft_steps;
    return run;
  }

  Settings settings_;
  runtime::DevicePtr device_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<runtime::Model> model_, draft_;
  bool same_ = false;
  size_t length_ = 0;
  Run last_;
};

}  // namespace
}  // namespace mlc

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "bench_speculation: expected FOLDER and LIBRARY; see the top of speculation.cpp\n");
    return 2;
  }
  try {
    mlc::Settings settings;
    int64_t* const numbers[] = {&settings.rounds, &settings.tokens, &settings.draft, &settings.width};
    for (int i = 3; i < std::min(argc, 7); ++i) *numbers[i - 3] = std::stoll(argv[i]);
    settings.adapt = settings.draft >= 0;
    settings.draft = std::abs(settings.draft);
    if (argc == 9) settings.draft_folder = argv[7], settings.draft_library = argv[8];
    mlc::Bench bench(argv[1], argv[2], settings);
    std::vector<std::filesystem::path> prompts;
    for (const auto& file : std::filesystem::directory_iterator(MLC_PROMPTS)) prompts.push_back(file.path());
    std::sort(prompts.begin(), prompts.end());
    std::printf(
        "prompt,prompt_tokens,answer_tokens,same_answer,plain_tokens_per_s,proposing_tokens_per_s,ratio,"
        "right,steps,draft_steps\n");
    for (const auto& prompt : prompts) bench.run(prompt);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_speculation: %s\n", e.what());
    return 1;
  }
}
