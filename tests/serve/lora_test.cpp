// Requests with LoRA adapters in the engine: each its own in one batch, none shares another's texts.
#include <gtest/gtest.h>

#include <map>

#include "serve/engine.h"
#include "support/lora_model.h"
#include "support/native_kernels.h"

namespace mlc::serve {
namespace {

using testing::LoadedModel;
using testing::lora_folder;
using testing::must;

struct Files {
  testing::TempFolder folder;
  Files() {
    testing::convert_checkpoint(testing::toy_file("llama", ""), "q0f32", folder.path(), /*raw_f32=*/true);
    testing::compile_to(folder.file("model.so"), testing::toy_config("llama", "q0f32"), 0,
                        {runnable_targets().front()}, false, 2, testing::kLoraRank);
  }
};

struct Answer {
  std::vector<int32_t> tokens;
  RequestMetrics metrics;
  FinishReason finish = FinishReason::kNone;
  std::string error;
};

class LoraEngine : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { files = new Files; }
  static void TearDownTestSuite() { delete files; }

  LoraEngine() {
    tokenizer = must(Tokenizer::load(std::string(MLC_SOURCE_DIR) + "/tests/data/weights/tokenizers/llama"));
    start();
  }
  // drafting: with the model itself as its draft model.
  void start(bool drafting = false) {
    engine.reset();
    answers.clear();
    model = load_model();
    EngineOptions options{.max_running = 4};
    if (drafting) {
      draft = load_model();
      options.speculative_mode = SpeculativeMode::kSmallDraft;
      options.draft = draft.model.get();
      options.spec_draft_length = 3;
      options.adapt_draft_length = false;
    }
    engine = std::make_unique<Engine>(*model.model, tokenizer, options);
  }
  static LoadedModel load_model() {
    return LoadedModel::load(must(runtime::open_device("cpu", {.threads = 2})),
                             files->folder.file("model.so"), files->folder.path(),
                             {.max_sequences = 4,
                              .context_tokens = 128,
                              .total_tokens = 1024,
                              .prefill_chunk = 64,
                              .max_wanted = 16,
                              .deterministic = true});
  }
  Status add(RequestId id, const std::string& adapter, int64_t max_tokens = 8) {
    GenerationConfig config;
    config.temperature = 0;
    config.max_tokens = max_tokens;
    config.ignore_eos = true;
    Request request{.id = id,
                    .prompt = testing::lora_tokens(),
                    .config = config,
                    .on_update =
                        [this](const StreamUpdate& u) {
                          Answer& a = answers[u.id];
                          if (u.token >= 0) a.tokens.push_back(u.token);
                          if (u.finish != FinishReason::kNone)
                            a.finish = u.finish, a.metrics = u.metrics, a.error = u.error;
                        },
                    .adapter = adapter};
    return engine->add_request(std::move(request));
  }
  Answer run(RequestId id) {
    while (engine->step()) {
    }
    EXPECT_EQ(answers[id].finish, FinishReason::kLength) << answers[id].error;
    return answers[id];
  }
  Answer ask(RequestId id, const std::string& adapter) {
    must(add(id, adapter));
    return run(id);
  }
  void load(const std::string& name) { must(engine->load_adapter(name, lora_folder(name))); }

  static Files* files;
  std::shared_ptr<const Tokenizer> tokenizer;
  LoadedModel model, draft;
  std::unique_ptr<Engine> engine;
  std::map<RequestId, Answer> answers;
};
Files* LoraEngine::files = nullptr;

TEST_F(LoraEngine, EachRequestHasItsAdapter) {
  const std::string names[] = {"", "plain", "patterns"};
  std::map<std::string, std::vector<int32_t>> alone;
  for (const std::string& name : names) {
    start();
    if (!name.empty()) load(name);
    alone[name] = ask(1, name).tokens;
  }
  EXPECT_NE(alone[""], alone["plain"]);
  EXPECT_NE(alone["patterns"], alone["plain"]);
  start();
  load("patterns");
  load("plain");
  EXPECT_EQ(engine->adapters(), (std::vector<std::string>{"patterns", "plain"}));
  for (int i = 0; i < 3; ++i) must(add(i, names[i]));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(i).tokens, alone[names[i]]) << "adapter '" << names[i] << "'";
}

// A draft model knows no adapters: it is right more seldom, and answers are what they were.
TEST_F(LoraEngine, ADraftModelChangesNoAdaptersAnswer) {
  const std::string names[] = {"", "plain", "patterns"};
  std::vector<std::vector<int32_t>> expected;
  load("plain");
  load("patterns");
  for (int i = 0; i < 3; ++i) expected.push_back(ask(i, names[i]).tokens);
  start(/*drafting=*/true);
  load("plain");
  load("patterns");
  for (int i = 0; i < 3; ++i) must(add(i, names[i]));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(run(i).tokens, expected[static_cast<size_t>(i)]) << names[i];
  EXPECT_GT(engine->metrics().accepted_draft_tokens, 2);
  EXPECT_LT(engine->metrics().accepted_draft_tokens, engine->metrics().draft_tokens);
  engine->reset();
  EXPECT_EQ(draft->sequences().used().pages[0], 0) << "a page is lost";
}

TEST_F(LoraEngine, TextsAreSharedWithinAnAdapterOnly) {
  load("plain");
  load("patterns");
  const auto all = static_cast<int64_t>(testing::lora_tokens().size());
  const Answer first = ask(1, "plain");
  EXPECT_EQ(first.metrics.prefilled_tokens, all);
  EXPECT_EQ(ask(2, "").metrics.prefilled_tokens, all);
  EXPECT_EQ(ask(3, "patterns").metrics.prefilled_tokens, all);
  const Answer again = ask(4, "plain");
  EXPECT_EQ(again.metrics.prefilled_tokens, 1);
  EXPECT_EQ(again.tokens, first.tokens);
}

TEST_F(LoraEngine, AnUnknownAdapterIsRefused) {
  EXPECT_EQ(add(1, "plain").message(), "adapter: 'plain' is not loaded; there is none");
  load("plain");
  EXPECT_EQ(add(1, "pliant").message(), "adapter: 'pliant' is not loaded; there are: plain");
  EXPECT_FALSE(engine->step());
}

TEST_F(LoraEngine, AnAdapterInUseStays) {
  load("plain");
  must(add(1, "plain"));
  const std::string waiting = engine->unload_adapter("plain").message();
  EXPECT_EQ(waiting, "adapter: 'plain' is used by 1 request; wait for the end, or abort them");
  ASSERT_TRUE(engine->step());
  EXPECT_FALSE(engine->unload_adapter("plain").is_ok());
  EXPECT_EQ(engine->unload_adapter("other").message(), "adapter: 'other' is not loaded; there are: plain");
  run(1);
  must(engine->unload_adapter("plain"));
  EXPECT_TRUE(engine->adapters().empty());
}

// What an adapter computed is gone with it: another one in its slot begins anew.
TEST_F(LoraEngine, ASlotsNextAdapterInheritsNothing) {
  load("patterns");
  const std::vector<int32_t> expected = ask(1, "patterns").tokens;
  start();
  load("plain");
  ask(1, "plain");
  must(engine->unload_adapter("plain"));
  load("patterns");
  EXPECT_EQ(model->adapters().find("patterns"), 0);
  const Answer answer = ask(2, "patterns");
  EXPECT_EQ(answer.metrics.prefilled_tokens, static_cast<int64_t>(testing::lora_tokens().size()));
  EXPECT_EQ(answer.tokens, expected);
  engine->reset();
  EXPECT_EQ(model->sequences().used().pages[0], 0) << "a page is lost";
}

}  // namespace
}  // namespace mlc::serve
