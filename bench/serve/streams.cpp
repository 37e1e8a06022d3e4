// Answers that are being written while long prompts arrive: how long they wait between two tokens.
//
//   ninja -C build bench_streams
//   build/bench/bench_streams FOLDER LIBRARY [STREAMS=16] [STEP_TOKENS=0] [PROMPT=1500] [ARRIVALS=6]
//
// FOLDER: converted weights; LIBRARY: compiled for them with `--overrides max_batch_size=STREAMS+1` or more.
// STREAMS requests decode; then ARRIVALS prompts of PROMPT tokens come, each when the one before has its
// first token. STEP_TOKENS is EngineOptions::step_tokens. Prints CSV: tokens a second of all streams, the
// median, 99th percentile and maximum of the milliseconds between two tokens of a stream, the median time to
// the first token of the prompts, and the tokens of the largest step.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/strings.h"
#include "runtime/devices/registry.h"
#include "serve/engine.h"

namespace mlc {
namespace {

using serve::Clock;

template <typename T>
T must(Result<T> result) {
  if (!result.is_ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

double seconds_since(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

double quantile(std::vector<double>& values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

struct Settings {
  int64_t streams = 16, step_tokens = 0, prompt = 1500, arrivals = 6;
};

class Bench {
 public:
  Bench(const std::string& folder, const std::string& library, const Settings& settings)
      : settings_(settings), device_(must(runtime::open_device("cpu"))) {
    auto module = must(runtime::Module::load(*device_, library));
    model_ = must(runtime::Model::load(*device_, module, folder,
                                       {.max_sequences = settings.streams + 1,
                                        .total_tokens = settings.streams * 512 + 2 * settings.prompt}));
    engine_ = std::make_unique<serve::Engine>(
        *model_, must(Tokenizer::load(folder)),
        serve::EngineOptions{.max_running = static_cast<size_t>(settings.streams + 1),
                             .step_tokens = settings.step_tokens});
  }

  void run() {
    for (int64_t i = 0; i < settings_.streams; ++i) add(32, 480);
    step_until([&] { return written_ >= 4 * settings_.streams; });
    gaps_.clear();
    const Clock::time_point begun = Clock::now();
    const int64_t before = written_;
    for (int64_t i = 0; i < settings_.arrivals; ++i) {
      const serve::RequestId id = add(settings_.prompt, 1);
      step_until([&] { return first_.contains(id); });
    }
    report(static_cast<double>(written_ - before) / seconds_since(begun));
  }

 private:
  serve::RequestId add(int64_t prompt_tokens, int64_t answer_tokens) {
    serve::Request request{.id = next_id_++, .prompt = {}, .config = {}, .on_update = {}};
    request.config.temperature = 0;
    request.config.ignore_eos = true;
    request.config.max_tokens = answer_tokens;
    for (int64_t i = 0; i < prompt_tokens; ++i)  // no two requests begin alike
      request.prompt.push_back(
          static_cast<int32_t>(100 + (request.id * 7919 + i * 104729) % (model_->vocab_size() - 200)));
    const Clock::time_point arrived = Clock::now();
    request.on_update = [this, arrived, last = Clock::time_point()](const serve::StreamUpdate& u) mutable {
      if (u.token < 0) return;
      if (last == Clock::time_point())
        first_[u.id] = seconds_since(arrived);
      else
        gaps_.push_back(seconds_since(last));
      last = Clock::now();
      ++written_;
    };
    const serve::RequestId id = request.id;
    if (Status added = engine_->add_request(std::move(request)); !added.is_ok())
      throw std::runtime_error(added.message());
    return id;
  }

  template <typename Done>
  void step_until(Done done) {
    while (!done())
      if (!engine_->step()) throw std::runtime_error("the engine has nothing left to do");
  }

  void report(double tokens_per_second) {
    std::vector<double> first;
    for (const auto& [id, seconds] : first_)
      if (id >= settings_.streams) first.push_back(seconds);
    std::printf(
        "streams,step_tokens,prompt,tokens_per_s,gap_ms_p50,gap_ms_p99,gap_ms_max,first_token_s_p50,"
        "largest_step\n");
    std::printf("%lld,%lld,%lld,%.1f,%.2f,%.2f,%.2f,%.3f,%lld\n", static_cast<long long>(settings_.streams),
                static_cast<long long>(settings_.step_tokens), static_cast<long long>(settings_.prompt),
                tokens_per_second, 1e3 * quantile(gaps_, 0.5), 1e3 * quantile(gaps_, 0.99),
                1e3 * quantile(gaps_, 1), quantile(first, 0.5),
                static_cast<long long>(engine_->metrics().most_step_tokens));
  }

  Settings settings_;
  runtime::DevicePtr device_;
  std::unique_ptr<runtime::Model> model_;
  std::unique_ptr<serve::Engine> engine_;
  serve::RequestId next_id_ = 0;
  int64_t written_ = 0;
  std::vector<double> gaps_;
  std::map<serve::RequestId, double> first_;
};

int64_t number(int argc, char** argv, int at, int64_t fallback) {
  if (at >= argc) return fallback;
  int64_t value = 0;
  const char* end = argv[at] + std::strlen(argv[at]);
  auto [rest, error] = std::from_chars(argv[at], end, value);
  if (error != std::errc() || rest != end || value < 0)
    throw std::runtime_error(str("argument ", at, ": found '", argv[at], "', expected a number"));
  return value;
}

}  // namespace
}  // namespace mlc

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "bench_streams: expected FOLDER and LIBRARY; see the top of streams.cpp\n");
    return 2;
  }
  try {
    mlc::Settings settings;
    settings.streams = mlc::number(argc, argv, 3, settings.streams);
    settings.step_tokens = mlc::number(argc, argv, 4, settings.step_tokens);
    settings.prompt = mlc::number(argc, argv, 5, settings.prompt);
    settings.arrivals = mlc::number(argc, argv, 6, settings.arrivals);
    mlc::Bench(argv[1], argv[2], settings).run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_streams: %s\n", e.what());
    return 1;
  }
}
