// What masks of grammars add to a step: the same streams with and without one, in turn.
//
//   ninja -C build bench_masks
//   build/bench/bench_masks FOLDER LIBRARY [STREAMS=16] [ROUNDS=9]
//
// FOLDER: converted weights; LIBRARY: compiled for them with `--overrides max_batch_size=STREAMS` or more. In
// each round STREAMS requests write kTokens tokens each, first freely, then an endless JSON list by a schema.
// Prints CSV, a line a round: the median milliseconds of a decoding step of each, the ratio, and the
// milliseconds a step that making masks took.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "chat/grammar/grammar.h"
#include "runtime/devices/registry.h"
#include "serve/engine.h"

namespace mlc {
namespace {

constexpr int64_t kTokens = 96;
constexpr const char* kSchema =
    R"({"type":"array","minItems":1000,"items":{"type":"object","properties":{"name":{"type":"string"},
        "size":{"type":"integer"},"tags":{"type":"array","items":{"type":"string"}}},
        "required":["name","size","tags"],"additionalProperties":false}})";

template <typename T>
T must(Result<T> result) {
  if (!result.is_ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

class Bench {
 public:
  Bench(const std::string& folder, const std::string& library, int64_t streams)
      : streams_(streams),
        device_(must(runtime::open_device("cpu"))),
        tokenizer_(must(Tokenizer::load(folder))),
        compiler_(tokenizer_) {
    auto module = must(runtime::Module::load(*device_, library));
    model_ = must(runtime::Model::load(*device_, module, folder,
                                       {.max_sequences = streams, .total_tokens = streams * 256}));
    engine_ = std::make_unique<serve::Engine>(
        *model_, tokenizer_,
        serve::EngineOptions{.max_running = static_cast<size_t>(streams), .max_kept = 0});
    grammar_ = must(compiler_.compile(GrammarKind::kJsonSchema, kSchema, {}, "schema"));
  }

  // Median seconds of the steps in which all streams write one token.
  double step_seconds(bool masked) {
    for (int64_t i = 0; i < streams_; ++i) add(masked);
    std::vector<double> seconds;
    for (bool more = true; more;) {
      const int64_t written = written_;
      const serve::Clock::time_point begun = serve::Clock::now();
      more = engine_->step();
      if (written_ - written == streams_)
        seconds.push_back(std::chrono::duration<double>(serve::Clock::now() - begun).count());
    }
    if (seconds.empty()) throw std::runtime_error("no step wrote a token for every stream");
    std::nth_element(seconds.begin(), seconds.begin() + static_cast<int64_t>(seconds.size() / 2),
                     seconds.end());
    return seconds[seconds.size() / 2];
  }

  const serve::EngineMetrics& metrics() const { return engine_->metrics(); }

 private:
  void add(bool masked) {
    serve::Request request{.id = next_id_++, .prompt = {}, .config = {}, .on_update = {}};
    request.config.temperature = 0.7;
    request.config.seed = request.id % streams_;
    request.config.ignore_eos = true;
    request.config.max_tokens = kTokens;
    if (masked) request.config.grammar = grammar_;
    request.config.jump_forward = false;  // forced tokens would be more rows of the same steps
    for (int64_t i = 0; i < 32; ++i)
      request.prompt.push_back(
          static_cast<int32_t>(100 + (request.id * 7919 + i * 104729) % (model_->vocab_size() - 200)));
    request.on_update = [this](const serve::StreamUpdate& u) { written_ += u.token >= 0; };
    if (Status added = engine_->add_request(std::move(request)); !added.is_ok())
      throw std::runtime_error(added.message());
  }

  int64_t streams_, written_ = 0;
  runtime::DevicePtr device_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  GrammarCompiler compiler_;
  std::unique_ptr<runtime::Model> model_;
  std::unique_ptr<serve::Engine> engine_;
  std::shared_ptr<const Grammar> grammar_;
  serve::RequestId next_id_ = 0;
};

}  // namespace
}  // namespace mlc

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "bench_masks: expected FOLDER and LIBRARY; see the top of masks.cpp\n");
    return 2;
  }
  try {
    const int64_t streams = argc > 3 ? std::atoll(argv[3]) : 16, rounds = argc > 4 ? std::atoll(argv[4]) : 9;
    if (streams < 1 || rounds < 1) throw std::runtime_error("STREAMS and ROUNDS: expected numbers above 0");
    mlc::Bench bench(argv[1], argv[2], streams);
    std::printf("free_ms,masked_ms,ratio,masks_ms\n");
    for (int64_t i = 0; i < rounds; ++i) {
      const double open = bench.step_seconds(false);
      const mlc::serve::EngineMetrics before = bench.metrics();
      const double masked = bench.step_seconds(true);
      const mlc::serve::EngineMetrics after = bench.metrics();
      std::printf(
          "%.3f,%.3f,%.3f,%.3f\n", 1e3 * open, 1e3 * masked, masked / open,
          1e3 * (after.mask_seconds - before.mask_seconds) / static_cast<double>(after.steps - before.steps));
    }
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_masks: %s\n", e.what());
    return 1;
  }
}
