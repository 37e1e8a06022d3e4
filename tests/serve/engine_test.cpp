// The engine on a toy model, compiled at O0: batches, chunks, reuse, limits, stops, seeds, penalties.
#include <algorithm>
#include <set>

#include "serve/engine_case.h"

namespace mlc::serve {
namespace {

// Prompts of different lengths, more requests than run together, chunks that cut through them: each answer is
// the one that the request gets alone.
TEST_F(EngineTest, BatchesDoNotChangeAnswers) {
  const size_t lengths[] = {1, 17, 40, 5, 33};
  std::map<RequestId, std::vector<int32_t>> expected;
  for (int i = 0; i < 5; ++i) expected[i] = alone(prompt(lengths[i], i + 1), greedy(8 + i)).tokens;
  for (int64_t chunk : {4, 16, 64}) {
    start({.max_sequences = 3,
           .context_tokens = 200,
           .total_tokens = 400,
           .prefill_chunk = chunk,
           .shuffle_pages = 11},
          3);
    answers.clear();
    for (int i = 0; i < 5; ++i) must(add(i, prompt(lengths[i], i + 1), greedy(8 + i)));
    run();
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(answers[i].tokens, expected[i]) << "request " << i << ", chunk " << chunk;
      EXPECT_EQ(answers[i].finish, FinishReason::kLength);
      EXPECT_EQ(static_cast<int>(answers[i].tokens.size()), 8 + i);
    }
  }
  EXPECT_EQ(engine->metrics().finished_requests, 5);
}

TEST_F(EngineTest, ChunksDoNotChangeAnswers) {
  const Answer whole = alone(prompt(50, 4), greedy(10));
  for (int64_t chunk : {1, 7, 16, 49}) {
    const Answer parts = alone(prompt(50, 4), greedy(10), chunk);
    EXPECT_EQ(parts.tokens, whole.tokens) << chunk;
    EXPECT_EQ(parts.text, whole.text) << chunk;
    EXPECT_EQ(parts.metrics.prefilled_tokens, 50);
  }
}

TEST_F(EngineTest, LaterTurnsComputeOnlyWhatIsNew) {
  std::vector<int32_t> turns = prompt(20, 2);
  const Answer first = alone(turns, greedy(6));
  turns.insert(turns.end(), first.tokens.begin(), first.tokens.end());
  for (int32_t t : prompt(9, 3)) turns.push_back(t);
  answers.clear();
  must(add(2, turns, greedy(6)));
  run();
  const Answer reused = answers[2];
  // The last token that was generated has not been run yet: 20 + 5 of 35 are in the cache.
  EXPECT_EQ(reused.metrics.prompt_tokens, 35);
  EXPECT_EQ(reused.metrics.prefilled_tokens, 10);
  // A question edited in the middle keeps what comes before it.
  std::vector<int32_t> edited(turns.begin(), turns.begin() + 12);
  edited.push_back(500);
  must(add(3, edited, greedy(6)));
  run();
  EXPECT_EQ(answers[3].metrics.prefilled_tokens, 1);
  const Answer edited_answer = answers[3];
  // After reset nothing is kept.
  engine->reset();
  must(add(4, turns, greedy(6)));
  run();
  EXPECT_EQ(answers[4].metrics.prefilled_tokens, 35);
  EXPECT_EQ(answers[4].tokens, reused.tokens);
  EXPECT_EQ(alone(turns, greedy(6)).tokens, reused.tokens);
  EXPECT_EQ(alone(edited, greedy(6)).tokens, edited_answer.tokens);
}

TEST_F(EngineTest, AbortEndsOneRequestOnly) {
  const Answer expected = alone(prompt(12, 7), greedy(20));
  start({.max_sequences = 2, .context_tokens = 200, .total_tokens = 400, .prefill_chunk = 32}, 2);
  answers.clear();
  must(add(1, prompt(12, 7), greedy(20)));
  must(add(2, prompt(9, 8), greedy(20)));
  must(add(3, prompt(9, 9), greedy(20)));  // still waiting
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(engine->step());
  ASSERT_NE(engine->find(2), nullptr);
  engine->abort(2);
  engine->abort(3);
  engine->abort(77);
  EXPECT_EQ(engine->find(2), nullptr);
  EXPECT_EQ(answers[2].finish, FinishReason::kAbort);
  EXPECT_LT(answers[2].tokens.size(), 20u);
  EXPECT_EQ(answers[3].finish, FinishReason::kAbort);
  EXPECT_TRUE(answers[3].tokens.empty());
  run();
  EXPECT_EQ(answers[1].tokens, expected.tokens);
}

TEST_F(EngineTest, TheContextEndsAnAnswer) {
  start({.max_sequences = 1, .context_tokens = 32, .prefill_chunk = 32});
  must(add(1, prompt(20, 1), greedy(-1)));
  run();
  EXPECT_EQ(answers[1].finish, FinishReason::kLength);
  EXPECT_EQ(answers[1].tokens.size(), 12u);  // 20 + 12 = 32
}

// 64 tokens of cache for requests that want 48 each: they take turns, and each answer is the one that the
// request gets alone.
TEST_F(EngineTest, PreemptedRequestsAreComputedAnew) {
  std::map<RequestId, std::vector<int32_t>> expected;
  for (int i = 0; i < 4; ++i) expected[i] = alone(prompt(14, i + 1), greedy(34)).tokens;
  start({.max_sequences = 3, .context_tokens = 64, .total_tokens = 64, .prefill_chunk = 64}, 3);
  answers.clear();
  for (int i = 0; i < 4; ++i) must(add(i, prompt(14, i + 1), greedy(34)));
  run();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(answers[i].tokens, expected[i]) << i << answers[i].error;
  EXPECT_GT(engine->metrics().preemptions, 0);
  EXPECT_GT(answers[2].metrics.preemptions, 0);
  EXPECT_EQ(answers[0].metrics.preemptions, 0) << "the first one never makes way";
}

// A long prompt arrives while an answer is being written: every step writes a token of it, and none takes
// more tokens than the budget.
TEST_F(EngineTest, AnswersGoOnWhilePromptsAreComputed) {
  const Answer expected = alone(prompt(10, 1), greedy(30));
  start({.max_sequences = 2, .context_tokens = 200, .total_tokens = 400, .prefill_chunk = 64}, 2);
  engine =
      std::make_unique<Engine>(*model.model, tokenizer, EngineOptions{.max_running = 2, .step_tokens = 8});
  answers.clear();
  must(add(1, prompt(10, 1), greedy(30)));
  while (answers[1].tokens.empty()) ASSERT_TRUE(engine->step());
  must(add(2, prompt(150, 2), greedy(1)));
  size_t steps = 0;
  for (const size_t before = answers[1].tokens.size(); answers[2].tokens.empty(); ++steps) {
    EXPECT_EQ(answers[1].tokens.size(), before + steps);
    ASSERT_TRUE(engine->step());
  }
  EXPECT_EQ(steps, 22u);  // of 7 tokens of the prompt each: ceil(150 / 7)
  EXPECT_EQ(engine->metrics().most_step_tokens, 8);
  run();
  EXPECT_EQ(answers[1].tokens, expected.tokens);
  const auto of_long = answers[2].tokens;
  EXPECT_EQ(of_long, alone(prompt(150, 2), greedy(1)).tokens);
}

// Questions about one document: what they share is computed once, also while the first is still answered.
TEST_F(EngineTest, SharedBeginningsAreComputedOnce) {
  const auto question = [&](int32_t i) {
    std::vector<int32_t> tokens = prompt(50, 9);
    for (int32_t t : prompt(5, 20 + i)) tokens.push_back(t);
    return tokens;
  };
  std::map<RequestId, std::vector<int32_t>> expected;
  for (int i = 0; i < 4; ++i) expected[i] = alone(question(i), greedy(12)).tokens;
  start({.max_sequences = 3, .context_tokens = 200, .total_tokens = 600, .prefill_chunk = 64}, 3);
  answers.clear();
  must(add(0, question(0), greedy(12)));
  while (answers[0].tokens.empty()) ASSERT_TRUE(engine->step());
  for (int i = 1; i < 4; ++i) must(add(i, question(i), greedy(12)));
  run();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(answers[i].tokens, expected[i]) << i;
    EXPECT_EQ(answers[i].metrics.prefilled_tokens, i == 0 ? 55 : 5) << i;
  }
  EXPECT_EQ(engine->metrics().prefill_tokens, 55 + 3 * 5);
  engine->reset();
  EXPECT_EQ(model.model->sequences().used().pages[0], 0) << "all pages come back";
}

TEST_F(EngineTest, KeptSequencesMakeWay) {
  start({.max_sequences = 1, .context_tokens = 64, .total_tokens = 64, .prefill_chunk = 64});
  for (int i = 0; i < 4; ++i) must(add(i, prompt(45, i + 1), greedy(10)));
  run();
  for (int i = 0; i < 4; ++i) EXPECT_EQ(answers[i].tokens.size(), 10u) << i << answers[i].error;
}

TEST_F(EngineTest, StopStringsEndAcrossTokens) {
  const Answer whole = alone(prompt(10, 5), greedy(24));
  ASSERT_EQ(whole.tokens.size(), 24u);
  ASSERT_GE(whole.text.size(), 12u);
  // From inside one token's text into a later one's.
  size_t from = whole.text.size() / 2;
  while (static_cast<signed char>(whole.text[from]) < 0) ++from;  // at a character's start
  size_t to = std::min(whole.text.size(), from + 7);
  while (to < whole.text.size() && (static_cast<unsigned char>(whole.text[to]) & 0xC0) == 0x80) ++to;
  const std::string stop = whole.text.substr(from, to - from);
  GenerationConfig config = greedy(24);
  config.stop_strings = {"never in the text", stop};
  const Answer stopped = alone(prompt(10, 5), config);
  EXPECT_EQ(stopped.finish, FinishReason::kStop);
  EXPECT_EQ(stopped.text, whole.text.substr(0, whole.text.find(stop)));
  EXPECT_LT(stopped.tokens.size(), whole.tokens.size());
}

TEST_F(EngineTest, StopTokensEndBeforeTheirText) {
  const Answer whole = alone(prompt(10, 5), greedy(12));
  GenerationConfig config = greedy(12);
  config.stop_token_ids = {whole.tokens[6]};
  const size_t first = static_cast<size_t>(
      std::find(whole.tokens.begin(), whole.tokens.end(), whole.tokens[6]) - whole.tokens.begin());
  const Answer stopped = alone(prompt(10, 5), config);
  EXPECT_EQ(stopped.finish, FinishReason::kStop);
  EXPECT_EQ(stopped.tokens,
            std::vector<int32_t>(whole.tokens.begin(), whole.tokens.begin() + static_cast<long>(first)));
  config.ignore_eos = true;
  EXPECT_EQ(alone(prompt(10, 5), config).tokens, whole.tokens);
}

TEST_F(EngineTest, SeedsReproduce) {
  GenerationConfig config = greedy(20);
  config.temperature = 1.5;
  config.seed = 42;
  const Answer first = alone(prompt(8, 6), config);
  EXPECT_EQ(alone(prompt(8, 6), config).tokens, first.tokens);
  config.seed = 43;
  EXPECT_NE(alone(prompt(8, 6), config).tokens, first.tokens);
  config.seed = 42;
  config.top_p = 1e-9;  // the most probable token only
  EXPECT_EQ(alone(prompt(8, 6), config).tokens, alone(prompt(8, 6), greedy(20)).tokens);
}

TEST_F(EngineTest, PenaltiesAndBiasSteer) {
  GenerationConfig biased = greedy(10);
  biased.logit_bias = {{123, 100.0}};
  EXPECT_EQ(alone(prompt(8, 6), biased).tokens, std::vector<int32_t>(10, 123));
  const auto count = [](const std::vector<int32_t>& tokens, int32_t token) {
    return std::count(tokens.begin(), tokens.end(), token);
  };
  const auto repeated = alone(prompt(8, 6), greedy(60)).tokens;
  GenerationConfig repetition = greedy(60);
  repetition.repetition_penalty = 1e6;  // positive logits vanish once their token has come
  const auto varied = alone(prompt(8, 6), repetition).tokens;
  std::map<int32_t, long> most;
  for (int32_t t : repeated) most[t] = count(repeated, t);
  long highest = 0;
  for (const auto& [token, n] : most) highest = std::max(highest, n);
  ASSERT_GT(highest, 1) << "the toy does not repeat itself, so this test shows nothing";
  for (int32_t t : varied) EXPECT_EQ(count(varied, t), 1) << t;
  for (double GenerationConfig::* penalty :
       {&GenerationConfig::frequency_penalty, &GenerationConfig::presence_penalty}) {
    GenerationConfig config = greedy(60);
    config.*penalty = 2;
    const auto tokens = alone(prompt(8, 6), config).tokens;
    EXPECT_NE(tokens, repeated);
    EXPECT_GT(std::set<int32_t>(tokens.begin(), tokens.end()).size(), most.size());
  }
}

TEST_F(EngineTest, RefusesImpossibleRequests) {
  start({.max_sequences = 1, .context_tokens = 32, .prefill_chunk = 32});
  EXPECT_NE(add(1, {}, greedy(1)).message().find("empty"), std::string::npos);
  EXPECT_NE(add(1, prompt(32, 1), greedy(1)).message().find("32 tokens"), std::string::npos);
  EXPECT_NE(add(1, {5, 512}, greedy(1)).message().find("token 512"), std::string::npos);
  EXPECT_NE(add(1, {-1}, greedy(1)).message().find("token -1"), std::string::npos);
  GenerationConfig bad = greedy(1);
  bad.top_p = 2;
  EXPECT_NE(add(1, {5}, bad).message().find("top_p"), std::string::npos);
  EXPECT_FALSE(engine->step());
  EXPECT_TRUE(answers.empty());
}

}  // namespace
}  // namespace mlc::serve
