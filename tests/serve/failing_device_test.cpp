// A device that fails in the middle of requests: each request it hits ends with the device's sentence, the
// engine goes on, and later answers are what they would have been.
#include "support/failing_device.h"

#include <gtest/gtest.h>

#include <optional>

#include "serve/engine.h"
#include "support/compiled_model.h"
#include "support/native_kernels.h"

namespace mlc::serve {
namespace {

using testing::FailingDevice;
using testing::LoadedModel;
using testing::must;

constexpr const char* kFailure = FailingDevice::kFailure;

struct Answer {
  std::vector<int32_t> tokens;
  std::string error;
  FinishReason finish = FinishReason::kNone;
};

class FailingDeviceTest : public ::testing::Test {
 protected:
  FailingDeviceTest() {
    testing::convert_checkpoint(testing::toy_file("llama", ""), "q4f16_1", folder.path());
    testing::compile_to(folder.file("model.so"), testing::toy_config("llama", "q4f16_1"), 0,
                        {runnable_targets().front()});
    tokenizer = must(Tokenizer::load(std::string(MLC_SOURCE_DIR) + "/tests/data/weights/tokenizers/llama"));
    model = LoadedModel::load(FailingDevice::wrap(device), folder.file("model.so"), folder.path(),
                              {.max_sequences = 1, .context_tokens = 100, .prefill_chunk = 16});
    engine = std::make_unique<Engine>(*model.model, tokenizer);
  }

  Answer ask(const std::vector<int32_t>& prompt) {
    Answer answer;
    GenerationConfig greedy;
    greedy.temperature = 0;
    greedy.max_tokens = 6;
    must(engine->add_request({1, prompt, greedy, [&](const StreamUpdate& u) {
                                if (u.token >= 0) answer.tokens.push_back(u.token);
                                answer.finish = u.finish;
                                answer.error = u.error;
                              }}));
    while (engine->step()) {
    }
    return answer;
  }

  testing::TempFolder folder;
  std::shared_ptr<const Tokenizer> tokenizer;
  FailingDevice* device = nullptr;
  LoadedModel model;
  std::unique_ptr<Engine> engine;
};

TEST_F(FailingDeviceTest, RequestsFailWithASentenceAndTheEngineGoesOn) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 20; ++i) prompt.push_back(3 + i * 37 % 500);  // two chunks
  const Answer expected = ask(prompt);
  ASSERT_EQ(expected.tokens.size(), 6u);
  for (bool half_done : {false, true})
    for (int step = 0; step < 6; ++step) {  // in the prompt's chunks, then in decoding
      engine->reset();
      device->fail_at = device->submissions + step;
      device->half_done = half_done;
      const Answer failed = ask(prompt);
      EXPECT_EQ(failed.finish, FinishReason::kError) << step;
      EXPECT_EQ(failed.error, kFailure) << step;
      EXPECT_LT(failed.tokens.size(), 6u) << step;
      const Answer next = ask(prompt);  // may reuse what the failed one left in the cache
      EXPECT_EQ(next.finish, FinishReason::kLength) << step << ": " << next.error;
      EXPECT_EQ(next.tokens, expected.tokens) << "after a failure in step " << step;
    }
}

}  // namespace
}  // namespace mlc::serve
