// A toy whose state is slots, served: memory, chats that go on from the present or from a snapshot, and what
// cannot be gone back to.
#include <gtest/gtest.h>

#include "serve/engine.h"
#include "support/compiled_model.h"
#include "support/native_kernels.h"

namespace mlc::testing {
namespace {

constexpr const char* kScheme = "q4f16_1";

class Slots : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder = std::make_unique<TempFolder>();
    convert_checkpoint(toy_file("rwkv5", ""), kScheme, folder->path());
    compile_to(folder->file("model.so"), toy_config("rwkv5", kScheme), 0, {runnable_targets().front()});
  }
  static void TearDownTestSuite() { folder.reset(); }

  static LoadedModel load(int64_t max_sequences) {
    return LoadedModel::load(must(runtime::open_device("cpu", {.threads = 2})), folder->file("model.so"),
                             folder->path(), {.max_sequences = max_sequences, .prefill_chunk = 16});
  }

  // Greedy answers of 12 tokens.
  struct Chat {
    serve::Engine engine;
    std::vector<int32_t> answer = {};
    serve::RequestId next = 1;

    int64_t ask(const std::vector<int32_t>& prompt) {  // tokens that had to be computed
      serve::GenerationConfig config;
      config.temperature = 0;
      config.max_tokens = 12;
      config.ignore_eos = true;
      int64_t computed = -1;
      answer.clear();
      must(engine.add_request({next++, prompt, config, [&](const serve::StreamUpdate& u) {
                                 if (u.token >= 0) answer.push_back(u.token);
                                 if (u.finish != serve::FinishReason::kNone)
                                   computed = u.metrics.prefilled_tokens;
                               }}));
      while (engine.step()) {
      }
      return computed;
    }
  };
  static Chat chat(const LoadedModel& m) {
    return {serve::Engine(*m.model, must(Tokenizer::load(std::string(MLC_SOURCE_DIR) +
                                                         "/tests/data/weights/tokenizers/llama")))};
  }

  inline static std::unique_ptr<TempFolder> folder;
};

TEST_F(Slots, MemoryIsTwoASequenceAndTheEmptyText) {
  const LoadedModel m = load(3);
  EXPECT_EQ(m->memory().state.store.slots, 1 + 2 * 3);
  EXPECT_NE(m->memory().text().find("recurrent state"), std::string::npos) << m->memory().text();
  EXPECT_NE(m->memory().text().find("(7 slots)"), std::string::npos) << m->memory().text();
  EXPECT_EQ(m->memory().text().find("kv cache"), std::string::npos) << m->memory().text();
}

TEST_F(Slots, ChatsGoOnFromThePresentOrFromTheEndOfAPrompt) {
  const LoadedModel m = load(1);
  Chat c = chat(m);
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 40; ++i) prompt.push_back(1 + i * 7 % 200);
  EXPECT_EQ(c.ask(prompt), 40);
  std::vector<int32_t> turn = prompt;
  turn.insert(turn.end(), c.answer.begin(), c.answer.end());
  turn.push_back(7);
  EXPECT_EQ(c.ask(turn), 2);  // the answer's last token was not computed yet
  std::vector<int32_t> edited(turn.begin(), turn.end());
  edited.insert(edited.end(), {200, 9, 9});  // not what was answered
  EXPECT_EQ(c.ask(edited), 3);
  const std::vector<int32_t> kept = c.answer;
  c.engine.reset();
  EXPECT_EQ(c.ask(edited), static_cast<int64_t>(edited.size()));
  EXPECT_EQ(c.answer, kept);
  EXPECT_EQ(m->sequences().used().slots, 2);  // of the sequence and its snapshot
  std::vector<int32_t> unlike = prompt;
  unlike[3] = 99;
  EXPECT_EQ(c.ask(unlike), 40);
}

TEST_F(Slots, NothingBeforeTheLastSnapshotComesBack) {
  const LoadedModel m = load(2);
  runtime::SequenceStore& store = m->sequences();
  const std::vector<int32_t> tokens(20, 3);
  must(store.add(1));
  auto step = [&](size_t n) { m.step({{1, std::span(tokens).first(n)}}, runtime::WantLogits::kNone); };
  step(10);
  store.snapshot(1);
  step(5);
  EXPECT_EQ(
      store.rewind(1, 12).message(),
      "state: rewind of sequence 1 at 12 of its 15 tokens, what came before is not kept; the last place "
      "before that is 10");
  EXPECT_FALSE(store.fork(1, 2, 9).is_ok());
  must(store.rewind(1, 10));
  EXPECT_EQ(store.rewind_point(1, 9), 0);
}

// More sequences than slots: kept ones make way, running ones never fail for it.
TEST_F(Slots, KeptSequencesMakeWay) {
  const LoadedModel m = load(2);
  Chat c = chat(m);
  for (int32_t i = 0; i < 6; ++i) EXPECT_EQ(c.ask({5 + i, 6, 7, 8}), 4);
  EXPECT_LE(m->sequences().used().slots, 4);
}

}  // namespace
}  // namespace mlc::testing
