// SmolLM2 on every GPU device of this machine against the CPU's O0: teacher-forced logits of ten texts, and
// what a step of steady decoding asks of the driver.
#include "smollm2/smollm2.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "runtime/devices/opencl/opencl.h"
#include "support/gpu_devices.h"
#include "support/npy.h"
#include "support/reference_model.h"

namespace mlc::testing {
namespace {

using runtime::WantLogits;

constexpr size_t kPositions = 64, kTexts = 10;
// Two float32 computations (logits_test.cpp): 2 x 2^-24 sqrt(1536) sqrt(8 x 30 + 2).
const double kFloatBound = 2 * std::ldexp(std::sqrt(1536.0) * std::sqrt(8.0 * 30 + 2), -24);
// With keys and values in f16 each is off by at most 2^-11 of itself, in 30 layers, which add up by squares.
const double kHalfCacheBound = kFloatBound + std::ldexp(std::sqrt(2.0 * 30), -11);

struct Case {
  std::string scheme;
  int opt_level;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.scheme << " O" << c.opt_level; }

class SmolLM2Gpu : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    check_smollm2_is_here();
    tokens = read_npy(std::string(MLC_SOURCE_DIR) + "/tests/data/models/smollm2/tokens.npy").ints;
  }
  std::span<const int32_t> text(size_t i) const {
    return std::span(tokens).subspan(i * kPositions, kPositions);
  }
  std::vector<int32_t> tokens;
};

TEST_P(SmolLM2Gpu, LogitsAreTheCpus) {
  const SmolLM2 smollm2(GetParam().scheme);
  const runtime::ModelLimits limits{.context_tokens = 64, .prefill_chunk = 64};
  const LoadedModel cpu = smollm2.load(0, limits);
  const auto vocab = static_cast<size_t>(cpu->vocab_size());
  const double bound = GetParam().opt_level == 0 ? kFloatBound : kHalfCacheBound;
  std::vector<std::vector<float>> expected;
  for (size_t t = 0; t < kTexts; ++t) {
    must(cpu->sequences().add(1));
    expected.push_back(cpu.step({{1, text(t)}}, WantLogits::kAll));
    must(cpu->sequences().remove(1));
  }
  for (const GpuTarget& gpu : best_gpu_targets()) {
    const LoadedModel m = smollm2.load_on(gpu.device, {gpu.target}, GetParam().opt_level, limits);
    double largest = 0;
    int compared = 0;
    for (size_t t = 0; t < kTexts; ++t) {
      must(m->sequences().add(1));
      std::vector<float> logits = m.step({{1, text(t).first(kPositions - 8)}}, WantLogits::kAll);
      for (size_t p = kPositions - 8; p < kPositions; ++p) {  // the last ones as decoding runs them
        const std::vector<float> next = m.step({{1, text(t).subspan(p, 1)}}, WantLogits::kLast);
        logits.insert(logits.end(), next.begin(), next.end());
      }
      for (size_t p = 0; p < kPositions; ++p) {
        const float *got = logits.data() + p * vocab, *want = expected[t].data() + p * vocab;
        const double error = relative_rms(got, want, vocab);
        largest = std::max(largest, error);
        EXPECT_LT(error, bound) << gpu.target.name << ", text " << t << ", position " << p;
        const float* best = std::max_element(want, want + vocab);
        float second = -INFINITY;
        for (size_t i = 0; i < vocab; ++i)
          if (want + i != best) second = std::max(second, want[i]);
        if (*best - second <= 2 * bound * std::abs(*best)) continue;
        ++compared;
        EXPECT_EQ(std::max_element(got, got + vocab) - got, best - want)
            << gpu.target.name << ", text " << t << ", position " << p;
      }
      must(m->sequences().remove(1));
    }
    EXPECT_GT(compared, 300);
    std::printf("%s %s O%d: largest relative RMS %.2e (bound %.2e), argmax equal at %d of %zu positions\n",
                gpu.target.name.c_str(), GetParam().scheme.c_str(), GetParam().opt_level, largest, bound,
                compared, kTexts * kPositions);
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, SmolLM2Gpu,
                         ::testing::Values(Case{"q4f16_1", 0}, Case{"q4f32_1", 0}, Case{"q4f16_1", 2}),
                         [](const auto& info) {
                           return info.param.scheme + "_O" + std::to_string(info.param.opt_level);
                         });

class SmolLM2OpenCl : public SmolLM2Gpu {};

// A step of decoding enqueues kernels and copies, and makes nothing; what comes back is a token.
TEST_P(SmolLM2OpenCl, SteadyDecodingMakesNothing) {
  const std::vector<GpuTarget> here = best_gpu_targets();
  auto opencl =
      std::find_if(here.begin(), here.end(), [](const GpuTarget& t) { return t.device == "opencl"; });
  const SmolLM2 smollm2(GetParam().scheme);
  const LoadedModel m =
      smollm2.load_on("opencl", {opencl->target}, 2, {.context_tokens = 128, .prefill_chunk = 64});
  must(m->sequences().add(1));
  m.step({{1, text(0).first(33)}}, WantLogits::kLast);
  const std::vector<DrawSettings> settings = {{1, 0.9f, 0.5f}};
  auto step = [&](size_t p) {
    const std::vector<runtime::StepSequence> one = {{1, text(0).subspan(p, 1)}};
    must(m->step_and_sample(one, settings));
  };
  for (size_t p = 33; p < 36; ++p) step(p);
  const runtime::OpenClCounters before = opencl_counters(*m.device);
  constexpr int64_t kSteps = 8;  // within a page
  for (size_t p = 36; p < 36 + kSteps; ++p) step(p);
  const runtime::OpenClCounters after = opencl_counters(*m.device);
  EXPECT_EQ(after.allocations, before.allocations);
  EXPECT_EQ(after.programs, before.programs);
  EXPECT_EQ(after.kernels, before.kernels);
  EXPECT_EQ(after.arguments_set, before.arguments_set);
  EXPECT_EQ(after.recordings, before.recordings);
  EXPECT_EQ(after.readbacks, before.readbacks + kSteps);
  EXPECT_EQ(after.bytes_read, before.bytes_read + 4 * kSteps);
  const int64_t launches = (after.launches - before.launches) / kSteps;
  std::printf("OpenCL decode: %lld launches a token\n", static_cast<long long>(launches));
  EXPECT_LE(launches, 30 * 8 + 8)
      << "at most 8 a layer, the embedding, last norm, logits and the two that draw a token";
}

INSTANTIATE_TEST_SUITE_P(Schemes, SmolLM2OpenCl, ::testing::Values(Case{"q4f16_1", 2}),
                         [](const auto& info) { return info.param.scheme; });

}  // namespace
}  // namespace mlc::testing
