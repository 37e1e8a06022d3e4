// Grammars in the engine: forced tokens, other requests beside them, preemption, speculation.
#include "serve/engine_case.h"

namespace mlc::serve {
namespace {

class GrammarEngineTest : public EngineTest {
 protected:
  GenerationConfig constrained(const std::string& regex, double temperature = 1.2, uint64_t seed = 7) {
    if (!compiler) compiler = std::make_unique<GrammarCompiler>(tokenizer);
    GenerationConfig config;
    config.temperature = temperature;
    config.seed = seed;
    config.grammar = must(compiler->compile(GrammarKind::kRegex, regex, {}, "regex"));
    return config;
  }
  std::unique_ptr<GrammarCompiler> compiler;
};

constexpr const char* kLong = "(([a-z]{3} ){4}=[0-9]{4};){4}";

TEST_F(GrammarEngineTest, ForcedTokensAreNotDrawn) {
  GenerationConfig config = constrained("the (one|only) and final answer");
  const Answer jumped = alone(prompt(20, 1), config);
  EXPECT_EQ(jumped.finish, FinishReason::kStop);
  EXPECT_TRUE(jumped.text == "the one and final answer" || jumped.text == "the only and final answer")
      << jumped.text;
  EXPECT_GT(engine->metrics().jump_forward_tokens, 3);
  const int64_t drawn = jumped.metrics.decode_tokens;
  config.jump_forward = false;
  const Answer stepped = alone(prompt(20, 1), config);
  EXPECT_EQ(engine->metrics().jump_forward_tokens, 0);
  EXPECT_EQ(stepped.finish, FinishReason::kStop);
  EXPECT_GT(stepped.metrics.decode_tokens, drawn);
}

TEST_F(GrammarEngineTest, TokensAreThoseOfALoneRequest) {
  const GenerationConfig config = constrained(kLong);
  const runtime::ModelLimits limits = {.max_sequences = 4,
                                       .context_tokens = 200,
                                       .total_tokens = 256,
                                       .prefill_chunk = 32,
                                       .deterministic = true};
  std::vector<Answer> lone;
  for (int32_t i = 0; i < 4; ++i) {
    start(limits, 4);
    answers.clear();
    must(add(i, prompt(30, i), i < 2 ? config : greedy(60)));
    run();
    lone.push_back(answers[i]);
  }
  EXPECT_EQ(lone[0].finish, FinishReason::kStop) << lone[0].text;
  start(limits, 4);
  answers.clear();
  for (int32_t i = 0; i < 4; ++i) must(add(i, prompt(30, i), i < 2 ? config : greedy(60)));
  run();
  for (int32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(answers[i].tokens, lone[static_cast<size_t>(i)].tokens) << i;
    EXPECT_EQ(answers[i].finish, lone[static_cast<size_t>(i)].finish) << i;
  }
  EXPECT_GT(engine->metrics().preemptions, 0);  // 4 x (30 + 60 and more) tokens do not fit in 256
}

TEST_F(GrammarEngineTest, SpeculationChangesNothing) {
  for (double temperature : {0.0, 1.0}) {
    const GenerationConfig config = constrained(kLong, temperature);
    const runtime::ModelLimits limits = {.max_sequences = 1,
                                         .context_tokens = 200,
                                         .prefill_chunk = 32,
                                         .max_wanted = 17,
                                         .deterministic = true};
    start(limits, EngineOptions{.max_running = 1});
    answers.clear();
    must(add(1, prompt(30, 1), config));
    run();
    const Answer plain = answers[1];
    EXPECT_EQ(plain.finish, FinishReason::kStop);
    start(limits, EngineOptions{.max_running = 1, .speculative_mode = SpeculativeMode::kNgram});
    answers.clear();
    must(add(1, prompt(30, 1), config));
    run();
    EXPECT_EQ(answers[1].tokens, plain.tokens);
    EXPECT_EQ(answers[1].text, plain.text);
  }
}

TEST_F(GrammarEngineTest, StopTokensEndCompleteTextsOnly) {
  GenerationConfig config = constrained("a{3,9}", 0);
  config.stop_token_ids = {2};
  config.logit_bias = {{2, 100.0}};
  const Answer answer = alone(prompt(10, 1), config);
  EXPECT_EQ(answer.finish, FinishReason::kStop);
  EXPECT_EQ(answer.text.find_first_not_of('a'), std::string::npos) << answer.text;
  EXPECT_GE(answer.text.size(), 3u);
  EXPECT_LE(answer.text.size(), 9u);
  config.ignore_eos = true;
  EXPECT_EQ(alone(prompt(10, 1), config).text, "aaaaaaaaa");
}

}  // namespace
}  // namespace mlc::serve
