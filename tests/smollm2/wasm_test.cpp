// SmolLM2 on the kernels of a .wasm, in Node: what the same kernels give on this machine.
#include "base/target/wasm.h"

#include <algorithm>
#include <chrono>

#include "smollm2/smollm2.h"
#include "support/native_kernels.h"
#include "support/wasm_device.h"

namespace mlc::testing {
namespace {

class SmolLM2Wasm : public ::testing::Test {
 protected:
  void SetUp() override { check_smollm2_is_here(); }

  // The prompt, then each of `answer`, which receives the likeliest tokens where it is empty: the logits.
  static std::vector<std::vector<float>> logits(const LoadedModel& m, const std::vector<int32_t>& prompt,
                                                std::vector<int32_t>& answer) {
    constexpr size_t kAnswer = 8;
    const bool free = answer.empty();
    must(m->sequences().add(1));
    std::vector<std::vector<float>> all = {m.step({{1, prompt}}, runtime::WantLogits::kLast)};
    const auto start = std::chrono::steady_clock::now();
    for (size_t i = 0; i < kAnswer; ++i) {
      const std::vector<float>& last = all.back();
      if (free)
        answer.push_back(static_cast<int32_t>(std::max_element(last.begin(), last.end()) - last.begin()));
      all.push_back(m.step({{1, std::span(answer).subspan(i, 1)}}, runtime::WantLogits::kLast));
    }
    const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
    std::printf("%s: %.1f ms a token\n", m.module->variant().c_str(), spent.count() / kAnswer);
    return all;
  }
};

// Both targets are described alike but for their names and rounding, which is exact, so that the kernels are
// the same in all that decides bits: no fused multiply-add, vectors of 16 bytes.
TEST_F(SmolLM2Wasm, GivesTheBitsOfX86) {
  const SmolLM2 model("q4f16_1");
  const runtime::ModelLimits limits{.context_tokens = 128, .prefill_chunk = 64};
  const std::vector<int32_t> prompt = model.chat_prompt("What is the capital of France?");
  std::vector<int32_t> answer;
  const auto got =
      logits(WasmDevice::load(model.library_for(wasm_targets(), 2), model.folder(), limits), prompt, answer);
  const auto expected = logits(model.load_on("cpu", {runnable_targets().back()}, 2, limits), prompt, answer);
  EXPECT_NE(must(model.tokenizer()->decode(answer)).find("Paris"), std::string::npos);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], expected[i]) << "step " << i;
}

}  // namespace
}  // namespace mlc::testing
