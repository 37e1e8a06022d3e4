// Proposals change how fast an answer comes, not what it is.
#include "serve/engine_case.h"

namespace mlc::serve {
namespace {

using SpeculativeTest = EngineTest;

EngineOptions speculating(int64_t width, size_t max_running = 1) {
  return {.max_running = max_running,
          .speculative_mode = SpeculativeMode::kNgram,
          .spec_draft_length = 8,
          .spec_tree_width = width};
}

runtime::ModelLimits limits(int64_t sequences, bool deterministic) {
  return {.max_sequences = sequences,
          .context_tokens = 200,
          .total_tokens = 400,
          .prefill_chunk = 64,
          .max_wanted = 9 * sequences,
          .shuffle_pages = 3,
          .deterministic = deterministic};
}

// Texts whose ends were there before: the toy's greedy answers run in cycles soon.
std::vector<int32_t> repeated(const std::vector<int32_t>& part, int times) {
  std::vector<int32_t> text;
  for (int i = 0; i < times; ++i) text.insert(text.end(), part.begin(), part.end());
  return text;
}

TEST_F(SpeculativeTest, GreedyAnswersAreThoseOfPlainDecoding) {
  int64_t accepted = 0;
  for (int seed = 0; seed < 4; ++seed) {
    const std::vector<int32_t> text = repeated(prompt(9, seed), 4);
    const std::vector<int32_t> expected = alone(text, greedy(90)).tokens;
    for (int64_t width : {1, 3}) {
      start(limits(1, false), speculating(width));
      answers.clear();
      must(add(1, text, greedy(90)));
      run();
      EXPECT_EQ(answers[1].tokens, expected) << "seed " << seed << ", width " << width;
      EXPECT_EQ(answers[1].finish, FinishReason::kLength);
      EXPECT_GE(engine->metrics().draft_tokens, engine->metrics().accepted_draft_tokens);
      accepted += engine->metrics().accepted_draft_tokens;
    }
  }
  EXPECT_GT(accepted, 20);  // how many are proposed depends on measured times
}

// The same seed draws the same text, and a step's rows draw what single steps would.
TEST_F(SpeculativeTest, SampledAnswersAreThoseOfPlainDecoding) {
  GenerationConfig config;
  config.temperature = 0.3;  // of the toy's nearly flat logits: answers differ, and some proposals are right
  config.max_tokens = 60;
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    config.seed = seed;
    config.frequency_penalty = seed % 2 ? 0 : 0.4;
    const std::vector<int32_t> text = repeated(prompt(5, 2), 8);
    start(limits(1, true), EngineOptions{});
    answers.clear();
    must(add(1, text, config));
    run();
    const std::vector<int32_t> expected = answers[1].tokens;
    start(limits(1, true), speculating(1));
    answers.clear();
    must(add(1, text, config));
    run();
    EXPECT_EQ(answers[1].tokens, expected) << seed;
  }
}

// Answers that end at a stop string, at max_tokens and at the context, beside one another and beside prompts.
TEST_F(SpeculativeTest, BatchesEndWherePlainDecodingEnds) {
  std::map<RequestId, std::vector<int32_t>> expected;
  auto text = [&](int i) { return repeated(prompt(static_cast<size_t>(3 + i), i), 6 + 2 * i); };
  auto config = [&](int i) {
    GenerationConfig c = greedy(i == 2 ? -1 : 20 + 11 * i);
    if (i == 4) c.stop_token_ids = {expected[3].empty() ? -1 : expected[3].back()};
    return c;
  };
  for (int i = 0; i < 6; ++i) expected[i] = alone(text(i), config(i)).tokens;
  for (int64_t width : {1, 4}) {
    start(limits(3, false), speculating(width, 3));
    answers.clear();
    for (int i = 0; i < 6; ++i) must(add(i, text(i), config(i)));
    run();
    for (int i = 0; i < 6; ++i)
      EXPECT_EQ(answers[i].tokens, expected[i]) << "request " << i << ", width " << width;
    EXPECT_GT(engine->metrics().accepted_draft_tokens, 0);
  }
}

// A slot has met every token of a step: nothing is proposed, and answers are what they were.
TEST(Recurrences, TakeNoProposals) {
  testing::TempFolder folder;
  const std::string library = folder.file("model.so");
  testing::convert_checkpoint(testing::toy_file("rwkv5", ""), "q0f16", folder.path());
  testing::compile_to(library, testing::toy_config("rwkv5", "q0f16"), 0, {runnable_targets().front()});
  const auto tokenizer =
      must(Tokenizer::load(std::string(MLC_SOURCE_DIR) + "/tests/data/weights/tokenizers/llama"));
  std::vector<std::vector<int32_t>> answers;
  for (SpeculativeMode mode : {SpeculativeMode::kDisable, SpeculativeMode::kNgram}) {
    LoadedModel model =
        LoadedModel::load(must(runtime::open_device("cpu")), library, folder.path(), {.max_wanted = 9});
    Engine engine(*model.model, tokenizer, {.speculative_mode = mode});
    Request request{.id = 1, .prompt = repeated({3, 14, 15, 9}, 6), .config = {}, .on_update = {}};
    request.config.temperature = 0;
    request.config.max_tokens = 30;
    answers.emplace_back();
    request.on_update = [&](const StreamUpdate& u) {
      if (u.token >= 0) answers.back().push_back(u.token);
    };
    must(engine.add_request(std::move(request)));
    while (engine.step()) {
    }
    EXPECT_EQ(engine.metrics().draft_tokens, 0);
  }
  EXPECT_EQ(answers[0].size(), 30u);
  EXPECT_EQ(answers[0], answers[1]);
}

// A prompt that begins like an answer finds what the answer computed.
TEST_F(SpeculativeTest, NextTurnsGoOnFromWhatWasKept) {
  const std::vector<int32_t> text = repeated(prompt(6, 1), 5);
  std::vector<int32_t> turn = text;
  const std::vector<int32_t> first = alone(text, greedy(40)).tokens;
  turn.insert(turn.end(), first.begin(), first.end());
  turn.push_back(7);
  const std::vector<int32_t> second = alone(turn, greedy(20)).tokens;
  start(limits(1, false), speculating(3));
  answers.clear();
  must(add(1, text, greedy(40)));
  run();
  must(add(2, turn, greedy(20)));
  run();
  EXPECT_EQ(answers[1].tokens, first);
  EXPECT_EQ(answers[2].tokens, second);
  EXPECT_LE(answers[2].metrics.prefilled_tokens, 10);
}

}  // namespace
}  // namespace mlc::serve
