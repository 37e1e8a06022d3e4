// A prefill and a decode step of a toy of each class of shapes from the PTX, and from AMD's code, of its
// library: the interpreter's logits.
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

#include "simulate/cuda/fake_driver.h"
#include "support/compiled_model.h"
#include "support/gpu_devices.h"
#include "support/npy.h"
#include "support/reference_model.h"

namespace mlc::testing {
namespace {

using runtime::WantLogits;

struct Case {
  std::string toy;
  double longest;  // sum
  bool tensor_cores = false;
};

// A device, and the GPU that stands behind it.
struct FakeGpu {
  std::string kind, architecture;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.toy; }
void PrintTo(const FakeGpu& gpu, std::ostream* out) { *out << gpu.architecture; }

// Two float32 computations, as logits_test.cpp bounds them for 2 layers; of 3.
double float_bound(double longest) {
  return 2 * std::ldexp(std::sqrt(longest) * std::sqrt(8.0 * 3 + 2), -24);
}

// Tensor cores read weights and activations of the prompt as halves: each is off by up to 2^-11 of its value,
// evenly spread, and 4 matmuls of 3 layers and the head add their errors' squares.
double half_bound() { return std::ldexp(std::sqrt(2.0 / 3), -11) * std::sqrt(4.0 * 3 + 1); }

// Dense, a window in every other layer, experts, latent keys, a recurrence.
const std::vector<Case> kCases = {
    {"llama", 176}, {"gemma3_text", 96}, {"qwen2_moe", 104}, {"deepseek_v2", 104}, {"rwkv5", 448}};
const std::vector<Case> kOnTensorCores = {{"llama", 176, true}, {"qwen2_moe", 104, true}};

std::unique_ptr<FakeDriver> driver_of(const FakeGpu& gpu) {
  if (gpu.kind == "cuda") return std::make_unique<FakeCudaDriver>();
  return std::make_unique<FakeHipDriver>(FakeDriver::Options{.architecture = gpu.architecture});
}

class CudaToys : public ::testing::TestWithParam<std::tuple<FakeGpu, Case>> {};

TEST_P(CudaToys, GiveTheInterpretersLogits) {
  const auto& [gpu, c] = GetParam();
  const auto& [toy, longest, tensor_cores] = c;
  const double bound = tensor_cores ? half_bound() : float_bound(longest);
  const std::unique_ptr<FakeDriver> driver = driver_of(gpu);
  TempFolder folder;
  convert_checkpoint(toy_file(toy, ""), "q4f16_1", folder.path());
  compile_to(folder.file("model.so"), toy_config(toy, "q4f16_1"), 0,
             {class_target(gpu.kind + "-" + gpu.architecture, tensor_cores)});
  const std::vector<int32_t> tokens = read_npy(toy_file(toy, "tokens.npy")).ints;  // past the window
  const size_t last = tokens.size() - 1;
  std::vector<float> logits;
  {
    const LoadedModel m =
        LoadedModel::load(must(runtime::open_device(gpu.kind + ":1")), folder.file("model.so"), folder.path(),
                          {.max_sequences = 1, .context_tokens = 32, .prefill_chunk = 32});
    must(m->sequences().add(1));
    logits = m.step({{1, std::span(tokens).first(last)}}, WantLogits::kAll);
    const std::vector<float> row = m.step({{1, std::span(tokens).subspan(last)}}, WantLogits::kLast);
    logits.insert(logits.end(), row.begin(), row.end());
  }
  EXPECT_EQ(driver->complaints(), std::vector<std::string>());
  EXPECT_EQ(driver->alive(), std::vector<std::string>());
  ReferenceModel reference(toy_file(toy, ""), "q4f16_1", Storage::kAsStored);
  const graph::HostTensor expected = reference.step("decode", {{.tokens = tokens, .pages = {5, 3}}});
  ASSERT_EQ(logits.size(), expected.floats.size());
  const size_t vocab = logits.size() / tokens.size();
  for (size_t at = 0; at < tokens.size(); ++at)
    EXPECT_LT(relative_rms(&logits[at * vocab], &expected.floats[at * vocab], vocab), bound)
        << "at position " << at;
}

std::string name_of(const ::testing::TestParamInfo<CudaToys::ParamType>& info) {
  const auto& [gpu, c] = info.param;
  return gpu.architecture + "_" + c.toy + (c.tensor_cores ? "_on_tensor_cores" : "");
}

const FakeGpu kNvidia = {"cuda", "sm80"}, kAmd = {"rocm", "gfx1030"}, kAmdOf64Lanes = {"rocm", "gfx906"};

INSTANTIATE_TEST_SUITE_P(Toys, CudaToys,
                         ::testing::Combine(::testing::Values(kNvidia, kAmd), ::testing::ValuesIn(kCases)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(ToysOnTensorCores, CudaToys,
                         ::testing::Combine(::testing::Values(kNvidia), ::testing::ValuesIn(kOnTensorCores)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(ToysOn64Lanes, CudaToys,
                         ::testing::Combine(::testing::Values(kAmdOf64Lanes), ::testing::Values(kCases[0])),
                         name_of);

}  // namespace
}  // namespace mlc::testing
