// A step, and one more row, of models that have kernels or inputs of their own on software GPUs: the
// interpreter's logits.
#include <gtest/gtest.h>

#include <cmath>

#include "simulate/metal_device.h"
#include "support/compiled_model.h"
#include "support/npy.h"
#include "support/reference_model.h"

namespace mlc::testing {
namespace {

using runtime::WantLogits;

struct Case {
  std::string toy, device;
  double longest;  // sum
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.toy << " " << c.device; }

// bloom biases scores by distance, gemma3_text rotates by two tables, gpt2 and qwen2_moe have heads of 20 and
// 12 elements, which no 16 bytes divide, deepseek_v2 caches latents, gpt_oss has sinks and experts with
// biases; the others are recurrences. gpt_oss's logits at position 11 move by 55 roundings where one rounding
// moves each weight: as sums of 256.
const std::vector<Case> kCases = {
    {"bloom", "vulkan", 384},       {"bloom", "opencl", 384},      {"deepseek_v2", "vulkan", 104},
    {"deepseek_v2", "opencl", 104}, {"gemma3_text", "vulkan", 96}, {"gemma3_text", "opencl", 96},
    {"gpt2", "vulkan", 320},        {"gpt2", "opencl", 320},       {"gpt_oss", "vulkan", 256},
    {"gpt_oss", "opencl", 256},     {"qwen2_moe", "vulkan", 104},  {"qwen2_moe", "opencl", 104},
    {"rwkv", "vulkan", 136},        {"rwkv", "opencl", 136},       {"rwkv5", "vulkan", 448},
    {"rwkv5", "opencl", 448},
    // The simulated Metal device: latents, experts and a recurrence.
    {"deepseek_v2", "metal", 104},  {"gpt_oss", "metal", 256},     {"rwkv5", "metal", 448}};

class ToyStep : public ::testing::TestWithParam<Case> {};

TEST_P(ToyStep, GivesTheInterpretersLogits) {
  const auto& [toy, device, longest] = GetParam();
  // Two float32 computations, as logits_test.cpp bounds them for 2 layers; of 3.
  const double bound = 2 * std::ldexp(std::sqrt(longest) * std::sqrt(8.0 * 3 + 2), -24);
  register_metal_simulator(MLC_SOURCE_DIR "/src/simulate/metal");
  TempFolder folder;
  convert_checkpoint(toy_file(toy, ""), "q4f16_1", folder.path());
  compile_to(folder.file("model.so"), toy_config(toy, "q4f16_1"), 0, must(targets_for_device(device)));
  const LoadedModel m =
      LoadedModel::load(must(runtime::open_device(device)), folder.file("model.so"), folder.path(),
                        {.max_sequences = 1, .context_tokens = 32, .prefill_chunk = 32});
  must(m->sequences().add(1));
  const std::vector<int32_t> tokens = read_npy(toy_file(toy, "tokens.npy")).ints;  // past the window
  const size_t last = tokens.size() - 1;
  std::vector<float> logits = m.step({{1, std::span(tokens).first(last)}}, WantLogits::kAll);
  const std::vector<float> row = m.step({{1, std::span(tokens).subspan(last)}}, WantLogits::kLast);
  logits.insert(logits.end(), row.begin(), row.end());
  ReferenceModel reference(toy_file(toy, ""), "q4f16_1", Storage::kAsStored);
  const graph::HostTensor expected = reference.step("batch_verify", {{.tokens = tokens, .pages = {5, 3}}});
  ASSERT_EQ(logits.size(), expected.floats.size());
  const size_t vocab = logits.size() / tokens.size();
  for (size_t at = 0; at < tokens.size(); ++at)
    EXPECT_LT(relative_rms(&logits[at * vocab], &expected.floats[at * vocab], vocab), bound)
        << "at position " << at;
}

INSTANTIATE_TEST_SUITE_P(Toys, ToyStep, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.toy + "_" + info.param.device; });

}  // namespace
}  // namespace mlc::testing
