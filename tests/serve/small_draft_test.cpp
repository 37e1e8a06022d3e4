// A draft model's proposals change how many steps an answer takes, not what it is.
#include "serve/engine_case.h"
#include "support/failing_device.h"

namespace mlc::serve {
namespace {

// The engine's toy, and as its draft the same with 3-bit weights, which is right now and then.
class SmallDraftTest : public EngineTest {
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

  struct Setup {
    int64_t length = 4, width = 1;
    size_t max_running = 1;
    bool adapt = false, deterministic = false, same_model = false, plain = false;
    int64_t total_tokens = 800, draft_tokens = 800;
  };
  void start_drafting(const Setup& setup, runtime::DevicePtr draft_device = nullptr) {
    engine.reset();
    const auto sequences = static_cast<int64_t>(setup.max_running);
    auto limits = [&](int64_t total, int64_t wanted) {
      return runtime::ModelLimits{.max_sequences = sequences,
                                  .context_tokens = std::min<int64_t>(total, 200),
                                  .total_tokens = total,
                                  .prefill_chunk = 64,
                                  .max_wanted = wanted,
                                  .shuffle_pages = 3,
                                  .deterministic = setup.deterministic};
    };
    model = LoadedModel::load(must(runtime::open_device("cpu", {.threads = 2})),
                              files->folder.file("model.so"), files->folder.path(),
                              limits(setup.total_tokens, sequences * (1 + setup.length * setup.width)));
    const testing::TempFolder& folder = setup.same_model ? files->folder : *drafts;
    if (!draft_device) draft_device = must(runtime::open_device("cpu", {.threads = 2}));
    draft = LoadedModel::load(std::move(draft_device), folder.file("model.so"), folder.path(),
                              limits(setup.draft_tokens, 0));
    notes.clear();
    engine = std::make_unique<Engine>(
        *model.model, tokenizer,
        EngineOptions{
            .max_running = setup.max_running,
            .speculative_mode = setup.plain ? SpeculativeMode::kDisable : SpeculativeMode::kSmallDraft,
            .spec_draft_length = setup.length * setup.width,
            .spec_tree_width = setup.width,
            .adapt_draft_length = setup.adapt,
            .draft = draft.model.get(),
            .note = [this](const std::string& note) { notes.push_back(note); }});
    answers.clear();
  }
  Answer drafted(const Setup& setup, const std::vector<int32_t>& text, const GenerationConfig& config) {
    start_drafting(setup);
    must(add(1, text, config));
    run();
    return answers[1];
  }
  void expect_all_returned() {
    engine->reset();
    EXPECT_EQ(model->sequences().used().pages[0], 0) << "a page is lost";
    EXPECT_EQ(draft->sequences().used().pages[0], 0) << "a page of the draft model is lost";
  }

  static inline testing::TempFolder* drafts = nullptr;
  LoadedModel draft;
  std::vector<std::string> notes;
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

TEST_F(SmallDraftTest, SampledAnswersAreThoseOfPlainDecoding) {
  GenerationConfig config;
  config.max_tokens = 60;
  int64_t accepted = 0;
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    config.seed = seed;
    config.temperature = seed % 3 == 0 ? 1 : 0.3;
    config.top_p = seed % 2 ? 1 : 0.8;
    config.frequency_penalty = seed == 4 ? 0.4 : 0;
    config.top_k = seed == 5 ? 12 : 0;
    const Setup setup{.deterministic = true};
    Setup plain = setup;
    plain.plain = true;
    const Answer expected = drafted(plain, prompt(15, 2), config);
    EXPECT_EQ(engine->metrics().draft_steps, 0);
    EXPECT_EQ(drafted(setup, prompt(15, 2), config).tokens, expected.tokens) << seed;
    EXPECT_GT(engine->metrics().draft_tokens, 0);
    accepted += engine->metrics().accepted_draft_tokens;
  }
  EXPECT_GT(accepted, 30);
}

TEST_F(SmallDraftTest, SampledTokensHaveTheModelsDistribution) {
  start_drafting({.length = 2, .max_running = 16, .deterministic = true});
  expect_answers_have_the_models_distribution(750);
}

// Answers that end at a stop token, at max_tokens and at the context, beside one another and beside prompts,
// in memory that makes them wait for each other; ways of several tokens and without.
TEST_F(SmallDraftTest, BatchesEndWherePlainDecodingEnds) {
  std::map<RequestId, std::vector<int32_t>> expected;
  auto text = [&](int i) { return prompt(static_cast<size_t>(20 + 7 * i), i); };
  auto config = [&](int i) {
    GenerationConfig c = greedy(i == 2 ? -1 : 20 + 11 * i);
    if (i == 4) c.stop_token_ids = {expected[3].empty() ? -1 : expected[3].back()};
    return c;
  };
  for (int i = 0; i < 6; ++i) expected[i] = alone(text(i), config(i)).tokens;
  for (const int64_t width : {1, 3})
    for (const int64_t total : {800, 208})
      for (const int64_t draft_tokens : {800, 144}) {
        start_drafting(
            {.width = width, .max_running = 3, .total_tokens = total, .draft_tokens = draft_tokens});
        for (int i = 0; i < 6; ++i) must(add(i, text(i), config(i)));
        run();
        for (int i = 0; i < 6; ++i)
          EXPECT_EQ(answers[i].tokens, expected[i])
              << "request " << i << ", width " << width << ", " << total << " and " << draft_tokens;
        EXPECT_GT(engine->metrics().accepted_draft_tokens, 0);
        EXPECT_EQ(engine->metrics().preemptions > 0, total == 208);
        expect_all_returned();
      }
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

TEST_F(SmallDraftTest, GrammarsKeepTheirAnswers) {
  const GrammarCompiler compiler(tokenizer);
  for (const double temperature : {0.0, 1.0}) {
    GenerationConfig config;
    config.temperature = temperature;
    config.seed = 7;
    config.grammar =
        must(compiler.compile(GrammarKind::kRegex, "(([a-z]{3} ){4}=[0-9]{4};){4}", {}, "regex"));
    const Answer plain = drafted({.deterministic = true, .plain = true}, prompt(30, 1), config);
    ASSERT_EQ(plain.finish, FinishReason::kStop) << plain.error;
    const Answer answer = drafted({.deterministic = true}, prompt(30, 1), config);
    EXPECT_EQ(answer.finish, FinishReason::kStop) << answer.error;
    EXPECT_EQ(answer.tokens, plain.tokens);
    EXPECT_EQ(answer.text, plain.text);
    EXPECT_GT(engine->metrics().draft_steps, 0);
  }
}

// Requests that end while proposals are written, or between steps; the others do not notice.
TEST_F(SmallDraftTest, AbortsAtAnyPoint) {
  const std::vector<int32_t> expected = alone(prompt(25, 1), greedy(40)).tokens;
  for (int polls = 1; polls < 24; polls += 2) {
    start_drafting({.max_running = 3});
    for (int i = 1; i <= 3; ++i) must(add(i, prompt(25, i), greedy(40)));
    for (int i = 0; i < polls; ++i) engine->poll_step();
    engine->abort(2);
    for (int i = 0; i < 3; ++i) engine->poll_step();
    engine->abort(3);
    run();
    EXPECT_EQ(answers[1].tokens, expected) << polls;
    EXPECT_EQ(answers[2].finish, FinishReason::kAbort);
    expect_all_returned();
  }
}

// Proposals that are hardly ever right are given up, but for a few now and then.
TEST_F(SmallDraftTest, WhatDoesNotPayIsGivenUp) {
  GenerationConfig config;
  config.temperature = 2;  // nothing is likely
  config.seed = 3;
  config.max_tokens = 170;
  config.ignore_eos = true;
  drafted({.length = 8, .adapt = true}, prompt(10, 1), config);
  EXPECT_GT(engine->metrics().draft_tokens, 0);
  EXPECT_LT(engine->metrics().draft_tokens, 100);
  EXPECT_LT(engine->metrics().draft_steps, 100);
}

// The draft model's device fails: the answer goes on without it, and that is said once.
TEST_F(SmallDraftTest, AFailureOfTheDraftModelIsNoted) {
  const std::vector<int32_t> expected = alone(prompt(20, 1), greedy(40)).tokens;
  for (const int after : {1, 4, 7}) {
    testing::FailingDevice* device = nullptr;
    start_drafting({}, testing::FailingDevice::wrap(device));
    device->fail_at = device->submissions + after;
    device->half_done = after == 4;
    for (RequestId id : {1, 2}) must(add(id, prompt(20, 1), greedy(40)));
    run();
    EXPECT_EQ(answers[1].tokens, expected) << answers[1].error;
    EXPECT_EQ(answers[2].tokens, expected) << answers[2].error;
    ASSERT_EQ(notes.size(), 1u);
    EXPECT_EQ(notes[0], str("small_draft: the draft model proposes nothing any more: ",
                            testing::FailingDevice::kFailure));
    expect_all_returned();
  }
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
