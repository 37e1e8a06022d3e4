// What heads on the model's hidden states propose changes how many steps an answer takes, not what it is.
#include <cmath>

#include "serve/drafting_case.h"
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
class MedusaTest : public DraftingTest {
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

  void start_drafting(const Setup& setup, runtime::DevicePtr head_device = nullptr) override {
    start_with(setup, files->folder.path(), head_files->path(), std::move(head_device));
  }
  void start_with(const Setup& setup, const std::string& folder, const std::string& heads_folder,
                  runtime::DevicePtr head_device = nullptr) {
    engine.reset();
    const int64_t length = setup.length > 0 ? setup.length : kHeads;
    runtime::ModelLimits limits = limits_of(setup, setup.total_tokens);
    limits.max_wanted = max_wanted(setup, length);
    limits.hidden_states = !setup.plain;
    model = LoadedModel::load(must(runtime::open_device("cpu", {.threads = 2})), folder + "/model.so", folder,
                              limits);
    heads =
        LoadedHeads::load(heads_folder, setup.draft_room > 0 ? setup.draft_room : 16, std::move(head_device));
    start_engine(setup, length, {.speculative_mode = SpeculativeMode::kMedusa, .heads = heads.heads.get()});
  }

  static inline testing::TempFolder* head_files = nullptr;
  LoadedHeads heads;
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
  start_with({}, target.path(), head.path());
  must(add(1, {order[3], order[100]}, greedy(61)));
  run();
  EXPECT_EQ(answers[1].tokens, std::vector<int32_t>(order.begin() + 101, order.begin() + 162));
  const EngineMetrics& m = engine->metrics();
  EXPECT_EQ(m.steps, 16);        // the prompt's, which gives one token, and 60 / (1 + 3)
  EXPECT_EQ(m.draft_steps, 15);  // one for each of the others
  EXPECT_EQ(m.draft_tokens, 45);
  EXPECT_EQ(m.accepted_draft_tokens, 45);
}

TEST_F(MedusaTest, SampledAnswersAreThoseOfPlainDecoding) { expect_plain_answers_where_sampled(20, 5); }

TEST_F(MedusaTest, SampledTokensHaveTheModelsDistribution) {
  start_drafting({.length = 2, .max_running = 16, .deterministic = true});
  expect_answers_have_the_models_distribution(375);
}

// Heads that take fewer texts than there are, too.
TEST_F(MedusaTest, BatchesEndWherePlainDecodingEnds) {
  expect_plain_ends_in_batches([](int i) { return prompt(static_cast<size_t>(20 + 7 * (i / 4)), i); },
                               /*little_room=*/2);
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
TEST_F(MedusaTest, GrammarsKeepTheirAnswers) { expect_grammars_keep_answers(); }

// Heads read the states that a request's adapter gives: one with and one without, beside each other.
TEST_F(MedusaTest, AdaptersKeepTheirAnswers) {
  testing::TempFolder folder;
  testing::convert_checkpoint(testing::toy_file("llama", ""), "q4f16_1", folder.path());
  testing::compile_to(folder.file("model.so"), testing::toy_config("llama", "q4f16_1"), 0,
                      {runnable_targets().front()}, false, 1, testing::kLoraRank);
  auto answers_of = [&](bool plain) {
    start_with({.max_running = 2, .deterministic = true, .plain = plain}, folder.path(), head_files->path());
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

TEST_F(MedusaTest, AbortsAtAnyPoint) {
  expect_aborts_harm_no_other(20, [](const Answer&) {});
}

TEST_F(MedusaTest, WhatDoesNotPayIsGivenUp) { expect_what_does_not_pay_is_given_up(kHeads, 60); }

TEST_F(MedusaTest, AFailureOfTheHeadsIsNoted) {
  expect_failures_are_noted(2, {{0, false}, {3, true}}, "medusa: the draft head");
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
