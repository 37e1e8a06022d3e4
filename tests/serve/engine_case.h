// An engine on a toy model, compiled at O0, and what it answers.
#pragma once

#include <gtest/gtest.h>

#include <map>

#include "serve/engine.h"
#include "support/compiled_model.h"
#include "support/native_kernels.h"

namespace mlc::serve {

using testing::LoadedModel;
using testing::must;

// Compiled once for all tests of a process.
struct Files {
  testing::TempFolder folder;
  Files() {
    testing::convert_checkpoint(testing::toy_file("llama", ""), "q4f16_1", folder.path());
    testing::compile_to(folder.file("model.so"), testing::toy_config("llama", "q4f16_1"), 0,
                        {runnable_targets().front()}, /*tree_verify=*/true);
  }
};

struct Answer {
  std::vector<int32_t> tokens;
  std::string text, error;
  FinishReason finish = FinishReason::kNone;
  RequestMetrics metrics;
  int finishes = 0;
};

class EngineTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { files = new Files; }
  static void TearDownTestSuite() { delete files; }

  EngineTest() {
    const std::string folder = std::string(MLC_SOURCE_DIR) + "/tests/data/weights/tokenizers/llama";
    tokenizer = must(Tokenizer::load(folder));
  }

  void start(const runtime::ModelLimits& limits, size_t max_running = 1) {
    start(limits, EngineOptions{.max_running = max_running});
  }
  void start(const runtime::ModelLimits& limits, const EngineOptions& options) {
    engine.reset();
    model = LoadedModel::load(must(runtime::open_device("cpu", {.threads = 2})),
                              files->folder.file("model.so"), files->folder.path(), limits);
    engine = std::make_unique<Engine>(*model.model, tokenizer, options);
  }

  Status add(RequestId id, std::vector<int32_t> prompt, GenerationConfig config) {
    return engine->add_request({id, std::move(prompt), std::move(config), [this](const StreamUpdate& u) {
                                  Answer& a = answers[u.id];
                                  a.text += u.text;
                                  if (u.token >= 0) a.tokens.push_back(u.token);
                                  if (u.finish == FinishReason::kNone) return;
                                  a.finish = u.finish;
                                  a.metrics = u.metrics;
                                  a.error = u.error;
                                  a.finishes++;
                                }});
  }
  void run() {
    for (int steps = 0; engine->step(); ++steps)
      ASSERT_LT(steps, 10000) << "the engine does not come to an end";
    for (const auto& [id, answer] : answers) EXPECT_EQ(answer.finishes, 1) << "request " << id;
  }
  // One request alone in a new engine.
  Answer alone(const std::vector<int32_t>& prompt, const GenerationConfig& config, int64_t chunk = 64) {
    start({.max_sequences = 1, .context_tokens = 200, .prefill_chunk = chunk});
    answers.clear();
    must(add(1, prompt, config));
    run();
    return answers[1];
  }

  static GenerationConfig greedy(int64_t max_tokens) {
    GenerationConfig config;
    config.temperature = 0;
    config.max_tokens = max_tokens;
    return config;
  }
  static std::vector<int32_t> prompt(size_t length, int32_t seed) {
    std::vector<int32_t> tokens;
    for (size_t i = 0; i < length; ++i)
      tokens.push_back(static_cast<int32_t>(3 + (seed * 131 + static_cast<int32_t>(i) * 37) % 500));
    return tokens;
  }

  static inline Files* files = nullptr;
  std::shared_ptr<const Tokenizer> tokenizer;
  LoadedModel model;
  std::unique_ptr<Engine> engine;
  std::map<RequestId, Answer> answers;
};

}  // namespace mlc::serve
