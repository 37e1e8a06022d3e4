// Models whose layers see windows, at O0: against the graph interpreter, which keeps every token in one
// state. Pages come in random order; those that no sequence holds are NaN before every step.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "serve/engine.h"
#include "support/compiled_model.h"
#include "support/native_kernels.h"
#include "support/poisoned_device.h"
#include "support/reference_model.h"
#include "support/text_tree.h"

namespace mlc::testing {
namespace {

using runtime::StepSequence;
using runtime::WantLogits;
using Ids = std::vector<runtime::SequenceId>;

// As in logits_test.cpp: two computations of the same logits, of which one is in f32.
const double kFloatBound = 2 * std::ldexp(std::sqrt(256.0) * std::sqrt(8.0 * 3 + 2), -24);
constexpr const char* kScheme = "q4f16_1";
constexpr size_t kTokens = 100;
constexpr int64_t kContext = 192, kPage = 16, kChunk = 40;

struct Case {
  std::string toy;
  int64_t window = 0;
  size_t groups = 1;  // of block tables
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.toy << " " << c.window; }

// A toy with another window, converted, compiled and computed by the interpreter.
struct Windowed {
  explicit Windowed(const Case& c) {
    const std::string source = folder.file("source");
    std::filesystem::copy(toy_file(c.toy, ""), source);
    Json hf = must(read_json_file(source + "/config.json"));
    hf["sliding_window"] = c.window;
    hf["max_position_embeddings"] = kContext;
    must(write_file(source + "/config.json", json_text(hf)));
    convert_checkpoint(source, kScheme, folder.path());
    std::mt19937 random(4);
    for (size_t i = 0; i < kTokens; ++i) tokens.push_back(static_cast<int32_t>(random() % 500));
    ReferenceModel reference(source, kScheme, Storage::kAsStored);
    expected = reference.step("decode", {{.tokens = tokens, .pages = {5, 2, 9, 0, 1, 12, 7}}}).floats;
    vocab = expected.size() / kTokens;
    frontend::ModelConfig config = must(frontend::parse_hf_config(hf, "auto", c.toy));
    must(frontend::apply_overrides(
        config, {.context_window_size = kContext, .prefill_chunk_size = 128, .max_batch_size = 4}));
    compile_to(library(),
               {{"model_type", config.model_type},
                {"quantization", kScheme},
                {"model_config", config.fields},
                {"source_config", frontend::source_config(config)}},
               0, {runnable_targets().front()}, /*tree_verify=*/c.window >= kMostTreeTokens);
  }
  std::string library() const { return folder.file("model.so"); }

  TempFolder folder;
  std::vector<int32_t> tokens;
  std::vector<float> expected;
  size_t vocab = 0;
};

class Windows : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    static std::map<std::string, std::unique_ptr<Windowed>> made;
    std::unique_ptr<Windowed>& mine = made[GetParam().toy];
    if (!mine) mine = std::make_unique<Windowed>(GetParam());
    w = mine.get();
    m = load(/*max_sequences=*/3, /*total_tokens=*/0, kChunk);
  }

  LoadedModel load(int64_t max_sequences, int64_t total_tokens, int64_t chunk) {
    LoadedModel loaded = LoadedModel::load(must(PoisonedDevice::open(2)), w->library(), w->folder.path(),
                                           {.max_sequences = max_sequences,
                                            .total_tokens = total_tokens,
                                            .prefill_chunk = chunk,
                                            .max_wanted = 31,
                                            .shuffle_pages = 5});
    PoisonedDevice::arena_is_allocated(*loaded.device);
    return loaded;
  }

  // On CPUs a page of a state is one piece of memory.
  void poison_free_pages(const Ids& ids) {
    const std::vector<PlanState>& states = m.module->plan().states;
    const auto buffers = PoisonedDevice::find(*m.device, m->memory().state.bytes);
    for (size_t i = 0; i < states.size(); ++i) {
      const auto group = static_cast<size_t>(states[i].group);
      const int64_t pages = m->memory().state.store.groups[group].pages;
      std::vector<bool> used(static_cast<size_t>(pages));
      for (runtime::SequenceId id : ids)
        for (int32_t page : m->sequences().table(group, id).pages)
          if (page != runtime::kFreedPage) used[static_cast<size_t>(page)] = true;
      const int64_t bytes = buffers[i].bytes / pages;
      auto* memory = static_cast<char*>(buffers[i].handle);
      for (int64_t page = 0; page < pages; ++page)
        if (!used[static_cast<size_t>(page)])
          std::memset(memory + page * bytes, 0xFF, static_cast<size_t>(bytes));
    }
  }

  // Runs tokens [begin, end) of the text and compares the logits of each.
  void run(runtime::SequenceId id, size_t begin, size_t end, const Ids& all, const std::string& what) {
    poison_free_pages(all);
    const std::vector<float> got =
        m.step({{id, std::span(w->tokens).subspan(begin, end - begin)}}, WantLogits::kAll);
    for (size_t at = begin; at < end; ++at) expect_row(got, at - begin, at, what);
  }

  void expect_row(const std::vector<float>& got, size_t row, size_t position, const std::string& what) {
    ASSERT_GE(got.size(), (row + 1) * w->vocab);
    EXPECT_LT(relative_rms(got.data() + row * w->vocab, w->expected.data() + position * w->vocab, w->vocab),
              kFloatBound)
        << what << ", position " << position;
  }

  // The most pages of its group that a sequence holds between steps: those that the next row's window
  // touches.
  int64_t most_held() const { return (GetParam().window - 1 + kPage - 1) / kPage + 1; }
  size_t windowed_group() const { return GetParam().groups - 1; }

  Windowed* w = nullptr;
  LoadedModel m;
};

TEST_P(Windows, LogitsArePastThemWhatTheyAreWithEveryTokenKept) {
  ASSERT_EQ(m->sequences().groups(), GetParam().groups);
  for (int64_t id : {1, 2}) must(m->sequences().add(id));
  for (size_t at = 0; at < kTokens; at += 20) run(1, at, at + 20, {1, 2}, "chunks");
  for (size_t at = 0; at < kTokens; ++at) {
    run(2, at, at + 1, {1, 2}, "token by token");
    EXPECT_LE(m->sequences().used().pages[windowed_group()], 2 * most_held());
  }
  m = load(1, 0, 128);
  must(m->sequences().add(1));
  run(1, 0, kTokens, {1}, "whole");
}

// Windows count what a tree's row sees; what is refused leaves them as they were. A tree may have 31 rows,
// and windows are no shorter.
TEST_P(Windows, TreesSeeWhatATextDoes) {
  Windowed wide({.toy = GetParam().toy, .window = kMostTreeTokens, .groups = GetParam().groups});
  w = &wide;
  m = load(/*max_sequences=*/3, /*total_tokens=*/0, kChunk);
  must(m->sequences().add(1));
  const std::span<const int32_t> text(w->tokens);
  for (size_t at = 0; at + 9 < kTokens; at += 4) {
    poison_free_pages({1});
    const TextTree tree(text.subspan(at, 9));
    const std::vector<float> got = m.step({tree.step(1)}, WantLogits::kLast);
    for (size_t i = 0; i < tree.rows.size(); ++i) expect_row(got, tree.rows[i], at + i, "tree");
    m->sequences().commit(1, 0);
    run(1, at, at + 4, {1}, "after a tree");
  }
}

TEST_P(Windows, RaggedBatches) {
  for (int64_t id : {1, 2, 3}) must(m->sequences().add(id));
  std::array<size_t, 4> at{};
  const size_t counts[][4] = {{0, 17, 1, 20}, {0, 20, 3, 1}, {0, 1, 1, 1}, {0, 14, 22, 1},
                              {0, 1, 17, 22}, {0, 30, 1, 2}, {0, 1, 1, 1}};
  for (const auto& n : counts) {
    poison_free_pages({1, 2, 3});
    std::vector<StepSequence> step;
    for (size_t id : {1, 2, 3})
      step.push_back({static_cast<int64_t>(id), std::span(w->tokens).subspan(at[id], n[id])});
    const std::vector<float> got = m.step(step, WantLogits::kAll);
    size_t row = 0;
    for (size_t id : {1, 2, 3})
      for (size_t i = 0; i < n[id]; ++i) expect_row(got, row++, at[id]++, str("sequence ", id));
  }
}

TEST_P(Windows, ForksAndRewindsSeeWhatIsKept) {
  runtime::SequenceStore& store = m->sequences();
  must(store.add(1));
  run(1, 0, 24, {1}, "prompt");
  store.snapshot(1);
  run(1, 24, 64, {1}, "answer");
  run(1, 64, 90, {1}, "answer");
  // Kept are the pages that windows touch which end behind token 24, 0..31, and behind token 90, from 64 on.
  const int64_t nearest = 64 + GetParam().window - 1;
  EXPECT_EQ(store.rewind_point(1, 89), 89);
  EXPECT_EQ(store.rewind_point(1, nearest), nearest);
  EXPECT_EQ(store.rewind_point(1, nearest - 1), 32);
  EXPECT_EQ(store.rewind_point(1, 24), 24);
  const Status refused = store.rewind(1, 50);
  EXPECT_NE(refused.message().find("the last place before that is 32"), std::string::npos)
      << refused.message();
  must(store.fork(1, 2, nearest));
  run(2, static_cast<size_t>(nearest), static_cast<size_t>(nearest) + 1, {1, 2}, "fork");
  must(store.fork(1, 3, 24));
  run(3, 24, 60, {1, 2, 3}, "fork of a snapshot");
  run(1, 90, 95, {1, 2, 3}, "parent");
  must(store.remove(3));
  must(store.rewind(1, 24));
  run(1, 24, 60, {1, 2}, "rewound to a snapshot");
  EXPECT_TRUE(store.forget_snapshot());
  EXPECT_EQ(store.rewind_point(1, 32), 0);
  run(1, 60, 65, {1, 2}, "without the snapshot");
  must(store.rewind(1, 0));
  run(1, 0, 5, {1, 2}, "begun anew");
}

// What all tokens would take is the pool of the other group, or with one group of a plain model.
TEST_P(Windows, PoolsAreAsLargeAsWindows) {
  const std::vector<runtime::PagePoolLimits>& groups = m->memory().state.store.groups;
  EXPECT_EQ(groups[windowed_group()].window, GetParam().window);
  const int64_t held = 3 * ((GetParam().window - 1 + kPage - 1) / kPage + 2) + (kChunk + kPage - 1) / kPage,
                all = kContext / kPage + 2;
  EXPECT_EQ(groups[windowed_group()].pages, std::min(held, all));
  if (GetParam().groups > 1) {
    EXPECT_EQ(groups[0].pages, all);
  }
  const std::string text = m->memory().text();
  EXPECT_NE(text.find(str(" tokens of windows of ", GetParam().window)), std::string::npos) << text;
  // Every sequence fits, each with its window full, and one with a chunk more.
  const LoadedModel full = load(3, 3 * kContext, kChunk);
  for (int64_t id : {1, 2, 3}) {
    must(full->sequences().add(id));
    for (size_t at = 0; at < 80; at += 40)
      full.step({{id, std::span(w->tokens).subspan(at, 40)}}, WantLogits::kNone);
  }
  for (int64_t id : {1, 2, 3})
    EXPECT_EQ(full->sequences().tokens_that_fit(id, kChunk), kChunk) << full->memory().text();
}

// The next turn of a chat: as far as the kept sequence goes, or from the end of its last prompt.
TEST_P(Windows, AChatGoesOnWhereItsStatesAllow) {
  const auto tokenizer =
      must(Tokenizer::load(std::string(MLC_SOURCE_DIR) + "/tests/data/weights/tokenizers/llama"));
  serve::Engine engine(*m.model, tokenizer);
  serve::GenerationConfig config;
  config.temperature = 0;
  config.max_tokens = 24;
  config.ignore_eos = true;
  serve::RequestId next = 1;
  std::vector<int32_t> answer;
  auto ask = [&](const std::vector<int32_t>& prompt) {
    serve::RequestMetrics metrics;
    answer.clear();
    must(engine.add_request({next++, prompt, config, [&](const serve::StreamUpdate& u) {
                               if (u.token >= 0) answer.push_back(u.token);
                               if (u.finish != serve::FinishReason::kNone) metrics = u.metrics;
                             }}));
    while (engine.step()) {
    }
    return metrics.prefilled_tokens;
  };
  const std::vector<int32_t> prompt(w->tokens.begin(), w->tokens.begin() + 60);
  EXPECT_EQ(ask(prompt), 60);
  std::vector<int32_t> turn = prompt;
  turn.insert(turn.end(), answer.begin(), answer.end());
  turn.push_back(7);
  EXPECT_EQ(ask(turn), 2);             // the last token of the answer was not computed yet
  std::vector<int32_t> edited = turn;  // its answer begins in another way
  edited.insert(edited.end(), {9, 9, 9});
  EXPECT_EQ(ask(edited), 3);
  const std::vector<int32_t> with_history = answer;
  engine.reset();
  ask(edited);
  EXPECT_EQ(answer, with_history);
}

INSTANTIATE_TEST_SUITE_P(Toys, Windows,
                         ::testing::Values(Case{"gemma2", 21, 2}, Case{"mistral", 24, 1},
                                           Case{"mixtral", 17, 1}),
                         [](const auto& info) { return info.param.toy; });

}  // namespace
}  // namespace mlc::testing
