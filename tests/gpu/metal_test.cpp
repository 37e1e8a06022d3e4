// Toys on the simulated Metal device: every kernel of each shape class, in each variant, is text that clang
// accepts; a step, and one more row, has the graph interpreter's logits.
#include <gtest/gtest.h>

#include <cmath>

#include "simulate/metal_device.h"
#include "support/compiled_model.h"
#include "support/npy.h"
#include "support/reference_model.h"

namespace mlc::testing {
namespace {

class MetalKernels : public ::testing::TestWithParam<std::string> {};

TEST_P(MetalKernels, AreAccepted) {
  register_metal_simulator(MLC_SOURCE_DIR "/src/simulate/metal");
  const runtime::DevicePtr device = must(runtime::open_device("metal"));
  for (const Target& target : must(targets_for_device("metal"))) {
    TempFolder folder;
    compile_to(folder.file("model.so"), toy_config(GetParam(), "q4f16_1"), 2, {target});
    const auto module = runtime::Module::load(*device, folder.file("model.so"));
    ASSERT_TRUE(module.is_ok()) << module.status().message();
    EXPECT_EQ((*module)->variant(), target.name);
  }
}

INSTANTIATE_TEST_SUITE_P(Toys, MetalKernels,
                         ::testing::Values("deepseek_v2", "gemma3_text", "gpt_oss", "llama", "qwen2_moe",
                                           "rwkv5"),
                         [](const auto& info) { return info.param; });

using runtime::WantLogits;

struct Case {
  std::string toy;
  double longest;  // sum
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.toy; }

class MetalStep : public ::testing::TestWithParam<Case> {};

TEST_P(MetalStep, GivesTheInterpretersLogits) {
  register_metal_simulator(MLC_SOURCE_DIR "/src/simulate/metal");
  const auto& [toy, longest] = GetParam();
  // Two float32 computations, as logits_test.cpp bounds them for 2 layers; of 3.
  const double bound = 2 * std::ldexp(std::sqrt(longest) * std::sqrt(8.0 * 3 + 2), -24);
  TempFolder folder;
  convert_checkpoint(toy_file(toy, ""), "q4f16_1", folder.path());
  compile_to(folder.file("model.so"), toy_config(toy, "q4f16_1"), 0, must(targets_for_device("metal")));
  const LoadedModel m =
      LoadedModel::load(must(runtime::open_device("metal")), folder.file("model.so"), folder.path(),
                        {.max_sequences = 1, .context_tokens = 32, .prefill_chunk = 32});
  must(m->sequences().add(1));
  const std::vector<int32_t> tokens = read_npy(toy_file(toy, "tokens.npy")).ints;
  const size_t last = tokens.size() - 1;
  std::vector<float> logits = m.step({{1, std::span(tokens).first(last)}}, WantLogits::kAll);
  const std::vector<float> row = m.step({{1, std::span(tokens).subspan(last)}}, WantLogits::kLast);
  logits.insert(logits.end(), row.begin(), row.end());
  ReferenceModel reference(toy_file(toy, ""), "q4f16_1", Storage::kAsStored);
  const graph::HostTensor expected = reference.step("decode", {{.tokens = tokens, .pages = {5, 3}}});
  ASSERT_EQ(logits.size(), expected.floats.size());
  const size_t vocab = logits.size() / tokens.size();
  for (size_t at = 0; at < tokens.size(); ++at)
    EXPECT_LT(relative_rms(&logits[at * vocab], &expected.floats[at * vocab], vocab), bound)
        << "at position " << at;
}

INSTANTIATE_TEST_SUITE_P(Toys, MetalStep,
                         ::testing::Values(Case{"deepseek_v2", 104}, Case{"gpt_oss", 256},
                                           Case{"rwkv5", 448}),
                         [](const auto& info) { return info.param.toy; });

}  // namespace
}  // namespace mlc::testing
