// What heads on the model's hidden states propose changes how many steps an answer takes, not what it is.
#include <cmath>

#include "serve/engine_case.h"
#include "support/failing_device.h"
#include "support/heads_folder.h"
#include "support/lora_model.h"
#include "support/npy.h"

namespace mlc::serve {
namespace {

using runtime::HeadModel;

// The mlc-chat-config.json of a checkpoint's folder, as far as a compiler reads it.
Json config_of(const std::string& folder, const std::string& scheme) {
  const frontend::ModelConfig config =
      must(frontend::parse_hf_config(must(read_json_file(folder + "/config.json")), "auto", folder));
  return {{"model_type", config.model_type}, {"quantization", scheme}, {"model_config", config.fields}};
}

// Converts and compiles a checkpoint into a folder.
void make(const std::string& checkpoint, const std::string& scheme, const std::string& folder,
          bool raw_f32 = false) {
  testing::convert_checkpoint(checkpoint, scheme, folder, raw_f32);
  testing::compile_to(folder + "/model.so", config_of(checkpoint, scheme), 0, {runnable_targets().front()});
}

struct LoadedHeads {
  runtime::DevicePtr device;
  std::shared_ptr<runtime::Module> module;
  std::unique_ptr<HeadModel> heads;
  LoadedHeads() = default;
  LoadedHeads(LoadedHeads&&) = default;
  // The old heads go before the device that their memory belongs to.
  LoadedHeads& operator=(LoadedHeads&& other) {
    heads = std::move(other.heads);
    module = std::move(other.module);
    device = std::move(other.device);
    return *this;
  }
  static LoadedHeads load(const std::string& folder, int64_t rows, runtime::DevicePtr device = nullptr) {
    LoadedHeads loaded;
    loaded.device = device ? std::move(device) : must(runtime::open_device("cpu", {.threads = 2}));
    loaded.module = must(runtime::Module::load(*loaded.device, folder + "/model.so"));
    loaded.heads = must(HeadModel::load(*loaded.device, loaded.module, folder, rows));
    return loaded;
  }
};

// By torch, tests/models/make_heads.py; sums of 64 terms, two blocks deep: as tests/models/logits_test.cpp
// bounds two computations in float32.
TEST(MedusaHeads, LogitsAreTorchs) {
  const double bound = 2 * std::ldexp(std::sqrt(256.0) * std::sqrt(8.0 * 2 + 2), -24);
  testing::TempFolder folder;
  make(testing::toy_file("medusa", ""), "q0f32", folder.path(), /*raw_f32=*/true);
  const LoadedHeads loaded = LoadedHeads::load(folder.path(), 8);
  HeadModel& heads = *loaded.heads;
  ASSERT_EQ(heads.heads(), 3);
  const testing::NpyArray states = testing::read_npy(testing::toy_file("medusa", "states_fp32.npy")),
                          expected = testing::read_npy(testing::toy_file("medusa", "heads_fp32.npy"));
  const auto hidden = static_cast<size_t>(heads.hidden_size()),
             vocab = static_cast<size_t>(heads.vocab_size());
  const size_t rows = states.floats.size() / hidden;
  ASSERT_EQ(expected.floats.size(), 3 * rows * vocab);
  auto expect_rows = [&](size_t first, size_t count) {
    must(heads.begin(std::span(states.floats).subspan(first * hidden, count * hidden)));
    while (!must(heads.poll())) must(heads.wait());
    for (size_t head = 0; head < 3; ++head)
      for (size_t row = 0; row < count; ++row) {
        const std::span<const float> got =
            heads.logits(static_cast<int64_t>(head), static_cast<int64_t>(row));
        double error = 0, size = 0;
        for (size_t i = 0; i < vocab; ++i) {
          const double is = expected.floats[(head * rows + first + row) * vocab + i];
          error += (got[i] - is) * (got[i] - is), size += is * is;
        }
        EXPECT_LT(std::sqrt(error / size), bound) << "head " << head << ", row " << first + row;
      }
  };
  expect_rows(0, rows);
  for (size_t row = 0; row < rows; ++row) expect_rows(row, 1);
}

// The engine's toy, and heads that know some of its answers: a row of head k is the mean direction of the
// hidden states that this token followed k + 2 places later.
class MedusaTest : public EngineTest {
 protected:
  static constexpr int64_t kHeads = 3;
  static constexpr size_t kTexts = 4;

  static void SetUpTestSuite() {
    EngineTest::SetUpTestSuite();
    head_files = new testing::TempFolder;
  }
  static void TearDownTestSuite() {
    delete head_files;
    EngineTest::TearDownTestSuite();
  }

  struct Setup {
    int64_t length = kHeads, width = 1;
    size_t max_running = 1;
    bool adapt = false, deterministic = false, plain = false;
    int64_t total_tokens = 800, head_rows = 16;
  };

  void SetUp() override {
    if (!file_exists(head_files->file("model.so"))) make_heads();
  }

  void make_heads() {
    std::vector<testing::Rows> matrices(kHeads, testing::Rows(512, std::vector<float>(96, 0)));
    std::vector<std::vector<int>> seen(kHeads, std::vector<int>(512, 0));
    for (size_t i = 0; i < kTexts; ++i) {
      std::vector<int32_t> text = prompt(20, static_cast<int32_t>(i));
      const std::vector<int32_t> answer = alone(text, greedy(90)).tokens;
      text.insert(text.end(), answer.begin(), answer.end());
      start({.max_sequences = 1, .context_tokens = 200, .prefill_chunk = 128});
      must(model->sequences().add(1));
      const std::vector<float> states = model.step({{1, text}}, runtime::WantLogits::kHiddenStates);
      for (size_t at = 19; at < text.size(); ++at)
        for (size_t k = 0; k < kHeads && at + 2 + k < text.size(); ++k) {
          const auto token = static_cast<size_t>(text[at + 2 + k]);
          ++seen[k][token];
          for (size_t j = 0; j < 96; ++j) matrices[k][token][j] += states[at * 96 + j];
        }
    }
    for (size_t k = 0; k < kHeads; ++k)
      for (size_t token = 0; token < 512; ++token)
        for (float& x : matrices[k][token]) x /= static_cast<float>(std::max(seen[k][token], 1));
    testing::TempFolder checkpoint;
    testing::write_heads(checkpoint.path(), matrices);
    make(checkpoint.path(), "q0f16", head_files->path());
  }

  void start_drafting(const Setup& setup, runtime::DevicePtr head_device = nullptr,
                      const std::string& model_folder = "", const std::string& heads_folder = "") {
    engine.reset();
    const auto sequences = static_cast<int64_t>(setup.max_running);
    const std::string folder = model_folder.empty() ? files->folder.path() : model_folder;
    model = LoadedModel::load(must(runtime::open_device("cpu", {.threads = 2})), folder + "/model.so", folder,
                              {.max_sequences = sequences,
                               .context_tokens = std::min<int64_t>(setup.total_tokens, 200),
                               .total_tokens = setup.total_tokens,
                               .prefill_chunk = 64,
                               .max_wanted = sequences * (1 + setup.length * setup.width),
                               .hidden_states = !setup.plain,
                               .shuffle_pages = 3,
                               .deterministic = setup.deterministic});
    heads = LoadedHeads::load(heads_folder.empty() ? head_files->path() : heads_folder, setup.head_rows,
                              std::move(head_device));
    notes.clear();
    engine = std::make_unique<Engine>(
        *model.model, tokenizer,
        EngineOptions{.max_running = setup.max_running,
                      .speculative_mode = setup.plain ? SpeculativeMode::kDisable : SpeculativeMode::kMedusa,
                      .spec_draft_length = setup.length * setup.width,
                      .spec_tree_width = setup.width,
                      .adapt_draft_length = setup.adapt,
                      .heads = heads.heads.get(),
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
  }

  static inline testing::TempFolder* head_files = nullptr;
  LoadedHeads heads;
  std::vector<std::string> notes;
};

TEST_F(MedusaTest, GreedyAnswersAreThoseOfPlainDecoding) {
  for (int seed = 0; seed < 4; ++seed) {
    const std::vector<int32_t> text = prompt(20, seed), expected = alone(text, greedy(90)).tokens;
    int64_t steps[4] = {};
    for (const int64_t width : {1, 3}) {
      const Answer answer = drafted({.width = width}, text, greedy(90));
      EXPECT_EQ(answer.tokens, expected) << "seed " << seed << ", width " << width;
      const EngineMetrics& m = engine->metrics();
      EXPECT_GT(m.accepted_draft_tokens, 0);
      EXPECT_LT(m.steps, 90);
      EXPECT_GE(m.steps + m.accepted_draft_tokens, 90);  // a step gives one token more than it accepts
      EXPECT_GT(m.draft_steps, 0);
      EXPECT_LE(m.draft_steps, m.steps) << "one call proposes all tokens in a row";
      steps[width] = m.steps;
      expect_all_returned();
    }
    EXPECT_LE(steps[3], steps[1]) << "other ways are never right";
  }
}

// A model that goes round its tokens, and heads that know the way: steps and calls are counted.
TEST_F(MedusaTest, HeadsThatAreAlwaysRightSaveSteps) {
  std::vector<int32_t> order;
  for (int32_t i = 0; i < 512; ++i) order.push_back((i * 37 + 11) % 512);
  testing::TempFolder checkpoint, target, head_checkpoint, head;
  const testing::Rows embeddings = testing::write_cycle_model(checkpoint.path(), order, 64);
  std::vector<testing::Rows> matrices(kHeads, testing::Rows(512));
  for (size_t k = 0; k < kHeads; ++k)
    for (size_t i = 0; i < 512; ++i)
      matrices[k][static_cast<size_t>(order[(i + 2 + k) % 512])] = embeddings[static_cast<size_t>(order[i])];
  testing::write_heads(head_checkpoint.path(), matrices);
  make(checkpoint.path(), "q0f16", target.path());
  make(head_checkpoint.path(), "q0f16", head.path());
  start_drafting({}, nullptr, target.path(), head.path());
  must(add(1, {order[3], order[100]}, greedy(61)));
  run();
  EXPECT_EQ(answers[1].tokens, std::vector<int32_t>(order.begin() + 101, order.begin() + 162));
  const EngineMetrics& m = engine->metrics();
  EXPECT_EQ(m.steps, 16);        // the prompt's, which gives one token, and 60 / (1 + 3)
  EXPECT_EQ(m.draft_steps, 15);  // one for each of the others
  EXPECT_EQ(m.draft_tokens, 45);
  EXPECT_EQ(m.accepted_draft_tokens, 45);
}

TEST_F(MedusaTest, SampledAnswersAreThoseOfPlainDecoding) {
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
    const Answer expected = drafted(plain, prompt(20, 2), config);
    EXPECT_EQ(engine->metrics().draft_steps, 0);
    EXPECT_EQ(drafted(setup, prompt(20, 2), config).tokens, expected.tokens) << seed;
    EXPECT_GT(engine->metrics().draft_tokens, 0);
    accepted += engine->metrics().accepted_draft_tokens;
  }
  EXPECT_GT(accepted, 5);
}

TEST_F(MedusaTest, SampledTokensHaveTheModelsDistribution) {
  start_drafting({.length = 2, .max_running = 16, .deterministic = true});
  expect_answers_have_the_models_distribution(375);
}

// Answers that end at a stop token, at max_tokens and at the context, beside one another and beside prompts,
// in memory that makes them wait for each other; heads that take fewer texts than there are.
TEST_F(MedusaTest, BatchesEndWherePlainDecodingEnds) {
  std::map<RequestId, std::vector<int32_t>> expected;
  auto text = [&](int i) { return prompt(static_cast<size_t>(20 + 7 * (i / 4)), i); };
  auto config = [&](int i) {
    GenerationConfig c = greedy(i == 2 ? -1 : 20 + 11 * i);
    if (i == 4) c.stop_token_ids = {expected[3].empty() ? -1 : expected[3].back()};
    return c;
  };
  for (int i = 0; i < 6; ++i) expected[i] = alone(text(i), config(i)).tokens;
  for (const int64_t width : {1, 3})
    for (const int64_t total : {800, 208})
      for (const int64_t rows : {2, 16}) {
        start_drafting({.width = width, .max_running = 3, .total_tokens = total, .head_rows = rows});
        for (int i = 0; i < 6; ++i) must(add(i, text(i), config(i)));
        run();
        for (int i = 0; i < 6; ++i)
          EXPECT_EQ(answers[i].tokens, expected[i])
              << "request " << i << ", width " << width << ", " << total << " and " << rows;
        EXPECT_GT(engine->metrics().accepted_draft_tokens, 0);
        EXPECT_EQ(engine->metrics().preemptions > 0, total == 208);
        expect_all_returned();
      }
}

// A next turn and a fork of a kept prompt have a hidden state of their own: their last token is computed.
TEST_F(MedusaTest, TextsThatBeginAlikeAreProposedFor) {
  const std::vector<int32_t> text = prompt(20, 1), first = alone(text, greedy(20)).tokens;
  std::vector<int32_t> turn = text;
  turn.insert(turn.end(), first.begin(), first.end());
  const std::vector<int32_t> second = alone(turn, greedy(40)).tokens;
  start_drafting({.max_running = 2});
  must(add(1, text, greedy(20)));
  run();
  EXPECT_EQ(answers[1].tokens, first);
  const int64_t accepted = engine->metrics().accepted_draft_tokens;
  must(add(2, turn, greedy(40)));
  must(add(3, turn, greedy(40)));  // as the second of n choices
  run();
  EXPECT_EQ(answers[2].tokens, second);
  EXPECT_EQ(answers[3].tokens, second);
  EXPECT_LT(answers[2].metrics.prefilled_tokens, 20) << "the turn was computed anew";
  EXPECT_GT(engine->metrics().accepted_draft_tokens, accepted);
  expect_all_returned();
}

// A grammar drops what it does not let come, and text that it forces leaves the first heads behind.
TEST_F(MedusaTest, GrammarsKeepTheirAnswers) {
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

// Heads read the states that a request's adapter gives: one with and one without, beside each other.
TEST_F(MedusaTest, AdaptersKeepTheirAnswers) {
  testing::TempFolder folder;
  testing::convert_checkpoint(testing::toy_file("llama", ""), "q4f16_1", folder.path());
  testing::compile_to(folder.file("model.so"), testing::toy_config("llama", "q4f16_1"), 0,
                      {runnable_targets().front()}, false, 1, testing::kLoraRank);
  auto answers_of = [&](bool plain) {
    start_drafting({.max_running = 2, .deterministic = true, .plain = plain}, nullptr, folder.path());
    must(engine->load_adapter("plain", testing::lora_folder("plain")));
    must(add(1, prompt(20, 1), greedy(60)));
    must(add(2, prompt(20, 1), greedy(60), "plain"));
    run();
    return answers;
  };
  std::map<RequestId, Answer> expected = answers_of(/*plain=*/true), got = answers_of(/*plain=*/false);
  EXPECT_NE(expected[1].tokens, expected[2].tokens);
  for (const RequestId id : {1, 2}) EXPECT_EQ(got[id].tokens, expected[id].tokens) << got[id].error;
  EXPECT_GT(engine->metrics().accepted_draft_tokens, 0);
}

// Requests that end while proposals are written, or between steps; the others do not notice.
TEST_F(MedusaTest, AbortsAtAnyPoint) {
  const std::vector<int32_t> expected = alone(prompt(20, 1), greedy(40)).tokens;
  for (int polls = 1; polls < 24; polls += 2) {
    start_drafting({.max_running = 3});
    for (int i = 1; i <= 3; ++i) must(add(i, prompt(20, i), greedy(40)));
    for (int i = 0; i < polls; ++i) engine->poll_step();
    engine->abort(2);
    for (int i = 0; i < 3; ++i) engine->poll_step();
    engine->abort(3);
    run();
    EXPECT_EQ(answers[1].tokens, expected) << polls;
    expect_all_returned();
  }
}

// Proposals that are hardly ever right are given up, but for a few now and then.
TEST_F(MedusaTest, WhatDoesNotPayIsGivenUp) {
  GenerationConfig config;
  config.temperature = 2;  // nothing is likely
  config.seed = 3;
  config.max_tokens = 170;
  config.ignore_eos = true;
  drafted({.adapt = true}, prompt(10, 1), config);
  EXPECT_GT(engine->metrics().draft_tokens, 0);
  EXPECT_LT(engine->metrics().draft_tokens, 100);
  EXPECT_LT(engine->metrics().draft_steps, 60);
}

// The heads' device fails: the answer goes on without them, and that is said once.
TEST_F(MedusaTest, AFailureOfTheHeadsIsNoted) {
  const std::vector<int32_t> expected = alone(prompt(20, 1), greedy(40)).tokens;
  for (const int after : {0, 3}) {
    testing::FailingDevice* device = nullptr;
    start_drafting({.max_running = 2}, testing::FailingDevice::wrap(device));
    device->fail_at = device->submissions + after;
    device->half_done = after > 0;
    for (RequestId id : {1, 2}) must(add(id, prompt(20, 1), greedy(40)));
    run();
    EXPECT_EQ(answers[1].tokens, expected) << answers[1].error;
    EXPECT_EQ(answers[2].tokens, expected) << answers[2].error;
    ASSERT_EQ(notes.size(), 1u);
    EXPECT_EQ(notes[0],
              str("medusa: the draft head proposes nothing any more: ", testing::FailingDevice::kFailure));
    expect_all_returned();
  }
}

TEST_F(MedusaTest, WhatDoesNotFitIsRefused) {
  start_drafting({});
  must(check_heads(*model.model, *heads.heads, "--additional-models: x"));
  testing::TempFolder folder;
  make(testing::toy_file("medusa", ""), "q0f16", folder.path());
  const LoadedHeads other = LoadedHeads::load(folder.path(), 1);
  EXPECT_EQ(check_heads(*model.model, *other.heads, "--additional-models: x").message(),
            "--additional-models: x reads hidden states of 64, the model's are of 96; name the head that was "
            "made for it");
  testing::TempFolder checkpoint, fewer;
  testing::write_heads(checkpoint.path(), {testing::Rows(300, std::vector<float>(96, 1))});
  make(checkpoint.path(), "q0f16", fewer.path());
  const LoadedHeads vocabulary = LoadedHeads::load(fewer.path(), 1);
  EXPECT_EQ(check_heads(*model.model, *vocabulary.heads, "x").message(),
            "x has another vocabulary: it proposes 300 tokens, expected the 512 of the model; name the head "
            "that was made for it");
  // A head has no text, and a model is no head.
  const auto cpu = must(runtime::open_device("cpu", {.threads = 1}));
  const auto of_head = must(runtime::Module::load(*cpu, folder.file("model.so"))),
             of_model = must(runtime::Module::load(*cpu, files->folder.file("model.so")));
  EXPECT_NE(runtime::Model::load(*cpu, of_head, folder.path(), {})
                .status()
                .message()
                .find(" is a draft head of type medusa and has no text of its own"),
            std::string::npos);
  EXPECT_NE(HeadModel::load(*cpu, of_model, files->folder.path(), 1)
                .status()
                .message()
                .find(" is of a model of type llama, expected a draft head"),
            std::string::npos);
  EXPECT_EQ(runtime::Model::lacks_for_hidden_states(of_model->plan(), true), "");
  EXPECT_EQ(runtime::Model::lacks_for_hidden_states(of_head->plan(), false),
            "batch_prefill_to_last_hidden_states");
}

}  // namespace
}  // namespace mlc::serve
