// SmolLM2 in the runtime in WebAssembly, in Node: the logits are this machine's to the bit, the answer is the
// right one, and memory holds the weights once.
#include <algorithm>
#include <filesystem>

#include "base/target/wasm.h"
#include "smollm2/smollm2.h"
#include "support/native_kernels.h"
#include "support/web_session.h"

namespace mlc::testing {
namespace {

class SmolLM2Web : public ::testing::Test {
 protected:
  void SetUp() override {
    check_smollm2_is_here();
    check_web_runtime_is_here();
  }
};

TEST_F(SmolLM2Web, AnswersInNodeAsHere) {
  const SmolLM2 model("q4f16_1");
  const runtime::ModelLimits limits{.context_tokens = 128, .prefill_chunk = 64};
  std::filesystem::copy_file(model.library_for(wasm_targets(), 2), path_join(model.folder(), "model.wasm"));
  const std::string question = "What is the capital of France?";
  const std::vector<int32_t> prompt = model.chat_prompt(question);

  const LoadedModel native = model.load_on("cpu", {runnable_targets().back()}, 2, limits);
  must(native->sequences().add(1));
  std::vector<std::vector<float>> expected = {native.step({{1, prompt}}, runtime::WantLogits::kLast)};
  std::vector<int32_t> answer;
  for (int i = 0; i < 7; ++i) {
    const std::vector<float>& last = expected.back();
    answer.push_back(static_cast<int32_t>(std::max_element(last.begin(), last.end()) - last.begin()));
    expected.push_back(native.step({{1, {&answer.back(), 1}}}, runtime::WantLogits::kLast));
  }

  Json steps = {{{"start", Json::object()}},
                {{"open",
                  {{"folder", "."},
                   {"library", "model.wasm"},
                   {"context_window_size", limits.context_tokens},
                   {"prefill_chunk_size", limits.prefill_chunk}}}},
                {{"memory", nullptr}},
                {{"forward", {{"tokens", prompt}, {"anew", true}}}}};
  for (int32_t token : answer) steps.push_back({{"forward", {{"tokens", {token}}, {"anew", false}}}});
  steps.push_back({{"request",
                    {{"messages", {{{"role", "user"}, {"content", question}}}},
                     {"temperature", 0},
                     {"max_tokens", 16}}}});
  const Json outcomes = run_web_session(model.folder(), steps);
  web_value(outcomes[1]);
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(floats_of(web_value(outcomes[3 + i]).get<std::string>()), expected[i]) << "step " << i;
  std::string text;
  const Json reply = web_value(outcomes.back());
  for (const Json& update : reply["updates"]) text += update["text"].get<std::string>();
  EXPECT_NE(text.find("Paris"), text.npos) << text;

  // Beside what the plan counts: the program with its tokenizer and the plan itself, and one tensor as it is
  // read. A second copy of the weights would not fit.
  const int64_t weights = native->memory().weights, beside = int64_t{64} << 20;
  EXPECT_LT(web_value(outcomes[2]).get<int64_t>(), native->memory().total() + beside);
  EXPECT_GT(weights, beside);
}

}  // namespace
}  // namespace mlc::testing
