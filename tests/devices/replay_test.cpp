// Steady decoding makes no recordings: the executor records a step's launches once per body and shape bucket.
// Counted by the null device, for which every library will do.
#include <gtest/gtest.h>

#include "runtime/devices/null/null.h"
#include "serve/engine.h"
#include "support/compiled_model.h"
#include "support/heap.h"
#include "support/native_kernels.h"

namespace mlc::testing {
namespace {

using runtime::NullCounters;
using runtime::StepSequence;
using runtime::WantLogits;

class Replay : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder = std::make_unique<TempFolder>();
    convert_checkpoint(toy_file("llama", ""), "q4f16_1", folder->path());
    compile_to(folder->file("model.so"), toy_config("llama", "q4f16_1"), 0, {runnable_targets().front()});
  }
  static void TearDownTestSuite() { folder.reset(); }

  Replay() {
    model = LoadedModel::load(must(runtime::open_device("null")), folder->file("model.so"), folder->path(),
                              {.max_sequences = 2, .context_tokens = 256, .prefill_chunk = 32});
    must(model->sequences().add(1));
  }
  const NullCounters& counters() const { return runtime::null_counters(*model.device); }
  void decode() { model.step({{1, std::span(tokens).first(1)}}, WantLogits::kLast); }

  inline static std::unique_ptr<TempFolder> folder;
  const std::vector<int32_t> tokens = std::vector<int32_t>(32, 3);
  LoadedModel model;
};

TEST_F(Replay, DecodesOneSubmissionAStepFromFewRecordings) {
  model.step({{1, std::span(tokens).first(8)}}, WantLogits::kLast);
  decode();
  const NullCounters start = counters();
  constexpr int64_t kSteps =
      200;  // from 9 tokens to 209: from 1 page to 14, buckets of 2, 4, 8 and 16 pages come new
  for (int64_t i = 0; i < kSteps; ++i) decode();
  EXPECT_EQ(counters().recordings - start.recordings, 4);
  EXPECT_EQ(counters().replays - start.replays, kSteps);
  EXPECT_EQ(counters().submits - start.submits, kSteps);
  EXPECT_EQ(counters().allocations, start.allocations);
}

// Neither memory of the device nor of the host: every buffer of a step is made when the model is loaded.
TEST_F(Replay, SteadyDecodingAllocatesNothing) {
  TempFolder windows;  // of two kinds of layers, past the windows of one
  convert_checkpoint(toy_file("gemma2", ""), "q4f16_1", windows.path());
  compile_to(windows.file("model.so"), toy_config("gemma2", "q4f16_1"), 0, {runnable_targets().front()});
  for (const std::string& model_folder : {folder->path(), windows.path()})
    for (const char* device : {"null", "cpu"}) {
      LoadedModel m =
          LoadedModel::load(must(runtime::open_device(device)), model_folder + "/model.so", model_folder,
                            {.max_sequences = 2, .total_tokens = 256, .prefill_chunk = 32});
      for (runtime::SequenceId id : {1, 2}) must(m->sequences().add(id));
      const StepSequence both[] = {{1, std::span(tokens).first(1)}, {2, std::span(tokens).first(1)}};
      auto decode_both = [&] { return m->step(both, WantLogits::kLast).is_ok(); };
      for (int i = 0; i < 34; ++i) ASSERT_TRUE(decode_both());  // 3 pages each, recorded for 8
      const int64_t before = heap_allocations();
      for (int i = 0; i < 30; ++i) ASSERT_TRUE(decode_both());  // to 64 tokens, 4 pages each
      EXPECT_EQ(heap_allocations(), before) << m->manifest()["model_type"] << " on " << device;
    }
}

TEST_F(Replay, NothingIsRecordedWithinABucket) {
  model.step({{1, std::span(tokens).first(32)}}, WantLogits::kLast);
  for (int i = 0; i < 40; ++i) decode();  // 72 tokens in 5 pages: the bucket of 8
  const NullCounters start = counters();
  for (int i = 0; i < 50; ++i) decode();  // to 122 tokens in 8 pages
  EXPECT_EQ(counters().recordings, start.recordings);
  EXPECT_EQ(counters().replays - start.replays, 50);
}

// Prefills of many lengths come and go: the oldest recordings are dropped, and all are when the model is.
TEST_F(Replay, KeepsFewRecordings) {
  for (size_t rows = 1; rows <= 20; ++rows) {
    must(model->sequences().add(2));
    model.step({{2, std::span(tokens).first(rows)}}, WantLogits::kLast);
    must(model->sequences().remove(2));
  }
  EXPECT_EQ(counters().recordings, 20);
  EXPECT_EQ(counters().live_recordings, 16);
  model.model.reset();
  EXPECT_EQ(counters().live_recordings, 0);
  EXPECT_EQ(counters().live_bytes, 0);
}

// Logits of all rows need a larger buffer: what was recorded for the old one is forgotten, not replayed.
TEST_F(Replay, ForgetsRecordingsOfReplacedBuffers) {
  decode();
  const int64_t recorded = counters().recordings;
  model.step({{1, std::span(tokens).first(16)}}, WantLogits::kAll);
  decode();
  decode();
  EXPECT_EQ(counters().recordings, recorded + 2) << "one for all rows, one for decoding with the new buffer";
}

// A device that works beside the host: a step is begun, and polled until its results have arrived.
TEST_F(Replay, AStepIsPendingUntilTheDeviceIsDone) {
  runtime::set_null_polls(*model.device, 2);
  const StepSequence prompt[] = {{1, std::span(tokens).first(8)}};
  must(model->begin_step(prompt, WantLogits::kLast));
  EXPECT_FALSE(must(model->poll_step()));
  EXPECT_FALSE(must(model->poll_step()));
  EXPECT_TRUE(must(model->poll_step()));
  EXPECT_EQ(static_cast<int64_t>(model->result().logits.size()), model->vocab_size());
  must(model->begin_step(prompt, WantLogits::kLast));
  must(model->wait());  // what waits sees no pending poll
  EXPECT_TRUE(must(model->poll_step()));
}

TEST_F(Replay, TheEngineIsPendingWithoutWaiting) {
  const auto tokenizer =
      must(Tokenizer::load(std::string(MLC_SOURCE_DIR) + "/tests/data/weights/tokenizers/llama"));
  must(model->sequences().remove(1));
  serve::Engine engine(*model.model, tokenizer);
  EXPECT_EQ(engine.poll_step(), serve::StepOutcome::kIdle);
  runtime::set_null_polls(*model.device, 2);
  serve::GenerationConfig config;
  config.temperature = 0;
  config.max_tokens = 3;
  config.ignore_eos = true;
  std::string finished;
  auto on_update = [&](const serve::StreamUpdate& u) {
    if (u.finish != serve::FinishReason::kNone) finished = serve::finish_reason_text(u.finish);
  };
  must(engine.add_request({1, {5, 6, 7}, config, on_update}));
  using enum serve::StepOutcome;
  for (serve::StepOutcome expected : {kPending, kPending, kProgressed, kPending, kPending, kProgressed})
    EXPECT_EQ(engine.poll_step(), expected);
  EXPECT_TRUE(engine.step());  // waits
  EXPECT_EQ(finished, "length");
  EXPECT_EQ(engine.poll_step(), kIdle);
  // One that is aborted while its step runs ends at once, and the engine goes on.
  must(engine.add_request({2, {5, 6}, config, on_update}));
  EXPECT_EQ(engine.poll_step(), kPending);
  engine.abort(2);
  EXPECT_EQ(finished, "abort");
  EXPECT_TRUE(engine.step());
  EXPECT_FALSE(engine.step());
  EXPECT_EQ(engine.find(2), nullptr);
}

}  // namespace
}  // namespace mlc::testing
