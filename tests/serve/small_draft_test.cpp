// A draft model's proposals change how many steps an answer takes, not what it is.
#include "serve/drafting_case.h"

namespace mlc::serve {
namespace {

// The engine's toy, and as its draft the same with 3-bit weights, which is right now and then.
class SmallDraftTest : public DraftingTest {
 protected:
  static void SetUpTestSuite() {
    EngineTest::SetUpTestSuite();
    drafts = new testing::TempFolder;
    testing::convert_checkpoint(testing::toy_file("llama", ""), "q3f16_1", drafts->path());
    testing::compile_to(drafts->file("model.so"), testing::toy_config("llama", "q3f16_1"), 0,
                        {runnable_targets().front()});
  }
  static void TearDownTestSuite() {
    delete drafts;
    EngineTest::TearDownTestSuite();
  }

  void start_drafting(const Setup& setup, runtime::DevicePtr draft_device = nullptr) override {
    engine.reset();
    const int64_t length = setup.length > 0 ? setup.length : 4;
    runtime::ModelLimits limits = limits_of(setup, setup.total_tokens);
    limits.max_wanted = max_wanted(setup, length);
    model = LoadedModel::load(must(runtime::open_device("cpu", {.threads = 2})),
                              files->folder.file("model.so"), files->folder.path(), limits);
    const testing::TempFolder& folder = setup.same_model ? files->folder : *drafts;
    if (!draft_device) draft_device = must(runtime::open_device("cpu", {.threads = 2}));
    draft = LoadedModel::load(std::move(draft_device), folder.file("model.so"), folder.path(),
                              limits_of(setup, setup.draft_room > 0 ? setup.draft_room : 800));
    start_engine(setup, length,
                 {.speculative_mode = SpeculativeMode::kSmallDraft, .draft = draft.model.get()});
  }
  void expect_drafter_returned() override {
    EXPECT_EQ(draft->sequences().used().pages[0], 0) << "a page of the draft model is lost";
  }

  static inline testing::TempFolder* drafts = nullptr;
  LoadedModel draft;
};

TEST_F(SmallDraftTest, GreedyAnswersAreThoseOfPlainDecoding) {
  for (int seed = 0; seed < 4; ++seed) {
    const std::vector<int32_t> text = prompt(20, seed), expected = alone(text, greedy(90)).tokens;
    int64_t steps[4] = {};
    for (const int64_t width : {1, 3}) {
      const Answer answer = drafted({.width = width}, text, greedy(90));
      EXPECT_EQ(answer.tokens, expected) << "seed " << seed << ", width " << width;
      const EngineMetrics& m = engine->metrics();
      EXPECT_GT(m.accepted_draft_tokens, 0);
      EXPECT_LT(m.accepted_draft_tokens, m.draft_tokens);
      EXPECT_LT(m.steps, 90);
      EXPECT_GE(m.steps + m.accepted_draft_tokens, 90);  // a step gives one token more than it accepts
      steps[width] = m.steps;
      expect_all_returned();
    }
    EXPECT_LT(steps[3], steps[1]) << "other ways are never right";
  }
}

// The model itself is right in everything: steps and calls are counted.
TEST_F(SmallDraftTest, ADraftThatIsAlwaysRightSavesSteps) {
  drafted({.length = 4, .deterministic = true, .same_model = true}, prompt(20, 1), greedy(61));
  const EngineMetrics& m = engine->metrics();
  EXPECT_EQ(m.accepted_draft_tokens, m.draft_tokens);
  EXPECT_EQ(m.steps, 13);        // the prompt's, which gives one token, and 60 / (1 + 4)
  EXPECT_EQ(m.draft_steps, 48);  // 4 for each of the others
  EXPECT_EQ(m.draft_tokens, 48);
}

TEST_F(SmallDraftTest, SampledAnswersAreThoseOfPlainDecoding) { expect_plain_answers_where_sampled(15, 30); }

TEST_F(SmallDraftTest, SampledTokensHaveTheModelsDistribution) {
  start_drafting({.length = 2, .max_running = 16, .deterministic = true});
  expect_answers_have_the_models_distribution(750);
}

TEST_F(SmallDraftTest, BatchesEndWherePlainDecodingEnds) {
  expect_plain_ends_in_batches([](int i) { return prompt(static_cast<size_t>(20 + 7 * i), i); },
                               /*little_room=*/144);
}

// A next turn and a fork find what the draft model computed: it reads no text twice.
TEST_F(SmallDraftTest, TextsThatBeginAlikeAreReadOnce) {
  const std::vector<int32_t> text = prompt(60, 1);
  const std::vector<int32_t> first = alone(text, greedy(20)).tokens;
  std::vector<int32_t> turn = text;
  turn.insert(turn.end(), first.begin(), first.end());
  turn.push_back(7);
  const std::vector<int32_t> second = alone(turn, greedy(20)).tokens;
  start_drafting({.max_running = 2});
  must(add(1, text, greedy(20)));
  run();
  EXPECT_EQ(answers[1].tokens, first);
  const int64_t used = draft->sequences().used().pages[0];
  must(add(2, turn, greedy(20)));
  must(add(3, turn, greedy(20)));  // as the second of n choices
  run();
  EXPECT_EQ(answers[2].tokens, second);
  EXPECT_EQ(answers[3].tokens, second);
  // (80 + 20 + 20) / 16 pages of one, and of the other what follows the common beginning.
  EXPECT_LE(draft->sequences().used().pages[0], used + 7);
  expect_all_returned();
}

TEST_F(SmallDraftTest, GrammarsKeepTheirAnswers) { expect_grammars_keep_answers(); }

TEST_F(SmallDraftTest, AbortsAtAnyPoint) {
  expect_aborts_harm_no_other(25, [](const Answer& a) { EXPECT_EQ(a.finish, FinishReason::kAbort); });
}

TEST_F(SmallDraftTest, WhatDoesNotPayIsGivenUp) { expect_what_does_not_pay_is_given_up(8, 100); }

TEST_F(SmallDraftTest, AFailureOfTheDraftModelIsNoted) {
  expect_failures_are_noted(1, {{1, false}, {4, true}, {7, false}}, "small_draft: the draft model");
}

TEST_F(SmallDraftTest, ModelsThatCannotDraftAreRefused) {
  start_drafting({});
  must(check_draft(*model.model, *tokenizer, *draft.model, *tokenizer, "--additional-models: x"));
  const auto other =
      must(Tokenizer::load(std::string(MLC_SOURCE_DIR) + "/tests/data/weights/tokenizers/gpt_neox"));
  const std::string message =
      check_draft(*model.model, *tokenizer, *draft.model, *other, "--additional-models: x").message();
  EXPECT_EQ(message.rfind("--additional-models: x has another vocabulary: its token 0 is '", 0), 0u)
      << message;
  EXPECT_NE(message.find("name a smaller model of the same family"), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
  testing::TempFolder folder;
  Json config = testing::toy_config("llama", "q3f16_1");
  config["sliding_window_size"] = 32;
  testing::compile_to(folder.file("model.so"), config, 0, {runnable_targets().front()});
  const LoadedModel window = LoadedModel::load(must(runtime::open_device("cpu")), folder.file("model.so"),
                                               drafts->path(), {.max_sequences = 1});
  EXPECT_EQ(
      check_draft(*model.model, *tokenizer, *window.model, *tokenizer, "x").message(),
      "x drops what left its window of 32 tokens (sliding_window_size) and cannot take a proposal back; "
      "compile it without one");
}

}  // namespace
}  // namespace mlc::serve
