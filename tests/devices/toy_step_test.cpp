// Models with inputs and ops of their own, one step past their windows on software GPUs: the interpreter's
// logits. gemma3_text rotates by two tables; gpt_oss has sinks, and experts with biases.
#include <gtest/gtest.h>

#include <cmath>

#include "support/compiled_model.h"
#include "support/npy.h"
#include "support/reference_model.h"

namespace mlc::testing {
namespace {

using runtime::WantLogits;

// Two float32 computations, as logits_test.cpp bounds them; of 3 layers and sums of at most 96 terms.
const double kBound = 2 * std::ldexp(std::sqrt(96.0) * std::sqrt(8.0 * 3 + 2), -24);

class ToyStep : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(ToyStep, HasTheInterpretersLogits) {
  const auto [device, toy] = GetParam();
  TempFolder folder;
  convert_checkpoint(toy_file(toy, ""), "q4f16_1", folder.path());
  compile_to(folder.file("model.so"), toy_config(toy, "q4f16_1"), 0, must(targets_for_device(device)));
  const LoadedModel m =
      LoadedModel::load(must(runtime::open_device(device)), folder.file("model.so"), folder.path(),
                        {.max_sequences = 1, .context_tokens = 32, .prefill_chunk = 32});
  must(m->cache().add_sequence(1));
  const std::vector<int32_t> tokens = read_npy(toy_file(toy, "tokens.npy")).ints;
  const std::vector<float> logits = m.step({{1, tokens}}, WantLogits::kAll);
  ReferenceModel reference(toy_file(toy, ""), "q4f16_1", Storage::kAsStored);
  const graph::HostTensor expected = reference.step("batch_verify", {{.tokens = tokens, .pages = {5, 3}}});
  ASSERT_EQ(logits.size(), expected.floats.size());
  const size_t vocab = logits.size() / tokens.size();
  for (size_t row = 0; row < tokens.size(); ++row)
    EXPECT_LT(relative_rms(&logits[row * vocab], &expected.floats[row * vocab], vocab), kBound)
        << "at position " << row;
}

INSTANTIATE_TEST_SUITE_P(Toys, ToyStep,
                         ::testing::Values(std::pair("vulkan", "gemma3_text"),
                                           std::pair("opencl", "gemma3_text"), std::pair("vulkan", "gpt_oss"),
                                           std::pair("opencl", "gpt_oss")),
                         [](const auto& info) {
                           return std::string(info.param.first) + "_" + info.param.second;
                         });

}  // namespace
}  // namespace mlc::testing
