// An engine on a toy model, compiled at O0, and what it answers.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
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

  Status add(RequestId id, std::vector<int32_t> prompt, GenerationConfig config,
             const std::string& adapter = "") {
    auto on_update = [this](const StreamUpdate& u) {
      Answer& a = answers[u.id];
      a.text += u.text;
      if (u.token >= 0) a.tokens.push_back(u.token);
      if (u.finish == FinishReason::kNone) return;
      a.finish = u.finish;
      a.metrics = u.metrics;
      a.error = u.error;
      a.finishes++;
    };
    return engine->add_request({id, std::move(prompt), std::move(config), on_update, adapter});
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

  // Of each of the allowed tokens behind a text, if no other may come.
  std::vector<double> probabilities_of(const std::vector<int32_t>& tokens,
                                       const std::vector<int32_t>& allowed) const {
    must(model->sequences().add(1000000));
    const runtime::StepSequence step{1000000, tokens};
    const std::vector<float> logits = model.step({step}, runtime::WantLogits::kLast);
    must(model->sequences().remove(1000000));
    std::vector<double> p;
    double sum = 0;
    for (const int32_t token : allowed) {
      p.push_back(std::exp(static_cast<double>(logits[static_cast<size_t>(token)])));
      sum += p.back();
    }
    for (double& x : p) x /= sum;
    return p;
  }
  // By chi-square: its mean is cells - 1 and its variance twice that, so 4 standard deviations are allowed.
  static void expect_distribution(std::map<std::vector<int32_t>, int>& found,
                                  const std::map<std::vector<int32_t>, double>& expected) {
    double chi_square = 0, rest = 0;
    int cells = 0, found_rest = 0;
    auto add = [&](double is, double should_be) {
      chi_square += (is - should_be) * (is - should_be) / should_be, ++cells;
    };
    for (const auto& [tokens, count] : expected) {
      if (count < 5)  // too rare for a cell of their own
        rest += count, found_rest += found[tokens];
      else
        add(found[tokens], count);
    }
    if (rest > 5) add(found_rest, rest);
    ASSERT_GT(cells, 10);
    EXPECT_LT(chi_square, cells - 1 + 4 * std::sqrt(2.0 * (cells - 1)));
  }
  // Texts of three tokens come as often as the model's probabilities say, of four tokens that the bias
  // leaves: the proposals that are right come neither more nor less often than they should, and some are not.
  void expect_answers_have_the_models_distribution(int64_t least_accepted) {
    constexpr int kAnswers = 3000;
    const std::vector<int32_t> text = prompt(9, 3), allowed = {5, 77, 200, 411};
    GenerationConfig config;
    config.temperature = 1;
    config.max_tokens = 3;
    config.ignore_eos = true;
    for (const int32_t token : allowed) config.logit_bias[token] = 100;
    auto probabilities = [&](const std::vector<int32_t>& tokens) {
      return probabilities_of(tokens, allowed);
    };
    auto with = [](std::vector<int32_t> tokens, int32_t token) {
      tokens.push_back(token);
      return tokens;
    };
    std::map<std::vector<int32_t>, double> expected;
    const std::vector<double> first = probabilities(text);
    for (size_t a = 0; a < 4; ++a) {
      const std::vector<double> second = probabilities(with(text, allowed[a]));
      for (size_t b = 0; b < 4; ++b) {
        const std::vector<double> third = probabilities(with(with(text, allowed[a]), allowed[b]));
        for (size_t c = 0; c < 4; ++c)
          expected[{allowed[a], allowed[b], allowed[c]}] = kAnswers * first[a] * second[b] * third[c];
      }
    }
    for (int i = 0; i < kAnswers; ++i) {
      config.seed = static_cast<uint64_t>(i);
      must(add(i, text, config));
    }
    run();
    std::map<std::vector<int32_t>, int> found;
    for (const auto& [id, answer] : answers) ++found[answer.tokens];
    expect_distribution(found, expected);
    const EngineMetrics& m = engine->metrics();
    EXPECT_GT(m.accepted_draft_tokens, least_accepted);
    EXPECT_LT(m.accepted_draft_tokens, m.draft_tokens * 9 / 10);
  }

  static inline Files* files = nullptr;
  std::shared_ptr<const Tokenizer> tokenizer;
  LoadedModel model;
  std::unique_ptr<Engine> engine;
  std::map<RequestId, Answer> answers;
};

}  // namespace mlc::serve
