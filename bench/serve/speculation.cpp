// What proposals from a text's own past gain and cost (serve/speculate): decoding with them beside plain
// decoding, in turn, of one answer at a time.
//
//   ninja -C build bench_speculation
//   build/bench/bench_speculation FOLDER LIBRARY [ROUNDS=5] [TOKENS=256] [DRAFT=16] [WIDTH=1]
//
// FOLDER: converted weights of a model that reads ChatML, as SmolLM2-Instruct; LIBRARY: compiled for them,
// with
// --tree-verify for a WIDTH above 1. The prompts lie in bench/serve/prompts: edit_* ask for a text of the
// prompt with a change, answered greedily; free_* for something new, with temperature 1, so that
// answers do not run in cycles. Prints CSV: by prompt the medians of
// tokens a second of both, of the ratios of each round, and the share of proposals that were right.
#include <algorithm>
#include <charconv>
#include <cstdio>
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
};

struct Run {
  std::vector<int32_t> tokens;
  double tokens_per_second = 0;
  int64_t proposed = 0, right = 0;
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
  }

  void run(const std::filesystem::path& path) {
    const std::vector<int32_t> prompt = must(tokenizer_->encode(must(read_file(path.string()))));
    const bool greedy = path.stem().string().starts_with("edit");
    std::vector<double> plain, proposing, ratios;
    int64_t proposed = 0, right = 0;
    for (int64_t i = 0; i <= settings_.rounds; ++i) {
      const Run p = answer(prompt, greedy, serve::SpeculativeMode::kDisable),
                s = answer(prompt, greedy, serve::SpeculativeMode::kNgram);
      if (i == 0) continue;  // both are warm then
      plain.push_back(p.tokens_per_second);
      proposing.push_back(s.tokens_per_second);
      ratios.push_back(s.tokens_per_second / p.tokens_per_second);
      proposed += s.proposed, right += s.right;
      if (i == 1) same_ = p.tokens == s.tokens, length_ = p.tokens.size();
    }
    std::printf("%s,%zu,%zu,%s,%.1f,%.1f,%.3f,%.2f\n", path.stem().c_str(), prompt.size(), length_,
                same_ ? "yes" : "no", median(plain), median(proposing), median(ratios),
                proposed > 0 ? static_cast<double>(right) / static_cast<double>(proposed) : 0);
    std::fflush(stdout);
  }

 private:
  // A new engine: nothing is kept from one answer to the next.
  Run answer(const std::vector<int32_t>& prompt, bool greedy, serve::SpeculativeMode mode) {
    serve::Engine engine(*model_, tokenizer_,
                         {.max_kept = 0,
                          .speculative_mode = mode,
                          .spec_draft_length = settings_.draft,
                          .spec_tree_width = settings_.width});
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
    run.proposed = engine.metrics().draft_tokens, run.right = engine.metrics().accepted_draft_tokens;
    return run;
  }

  Settings settings_;
  runtime::DevicePtr device_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<runtime::Model> model_;
  bool same_ = false;
  size_t length_ = 0;
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
    mlc::Bench bench(argv[1], argv[2], settings);
    std::vector<std::filesystem::path> prompts;
    for (const auto& file : std::filesystem::directory_iterator(MLC_PROMPTS)) prompts.push_back(file.path());
    std::sort(prompts.begin(), prompts.end());
    std::printf(
        "prompt,prompt_tokens,answer_tokens,same_answer,plain_tokens_per_s,proposing_tokens_per_s,ratio,"
        "right\n");
    for (const auto& prompt : prompts) bench.run(prompt);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_speculation: %s\n", e.what());
    return 1;
  }
}
