// A real model against its references: SmolLM2 at O0 against logits in float64
// (tests/models/make_reference.py, itself held to transformers), and a quantized one against the graph
// interpreter.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "smollm2/smollm2.h"
#include "support/npy.h"
#include "support/reference_model.h"

namespace mlc::testing {
namespace {

using runtime::WantLogits;

constexpr size_t kPositions = 64;
// What issue and design ask of every position.
constexpr double kRequired = 1e-3;
// What float32 arithmetic gives: rounding errors of 2^-24 * sqrt(K), K = 1536 the longest sum, in 8 steps a
// layer and 2 more, which add up by squares over 30 layers: 2^-24 * sqrt(1536) * sqrt(242) = 3.6e-5; twice
// for a float32 reference.
const double kFloatBound = 2 * std::ldexp(std::sqrt(1536.0) * std::sqrt(8.0 * 30 + 2), -24);

std::string reference_file(const std::string& name) {
  return std::string(MLC_SOURCE_DIR) + "/tests/data/models/smollm2/" + name + ".npy";
}

class SmolLM2Logits : public ::testing::Test {
 protected:
  void SetUp() override {
    check_smollm2_is_here();
    tokens = read_npy(reference_file("tokens")).ints;
  }
  std::span<const int32_t> row(size_t sequence) const {
    return std::span(tokens).subspan(sequence * kPositions, kPositions);
  }
  std::vector<int32_t> tokens;
};

// Relative RMS of one position over the sampled vocabulary entries, as make_reference.py defines it.
double sampled_error(const float* logits, const std::vector<int32_t>& ids, const float* samples, double rms) {
  double sum = 0;
  for (size_t i = 0; i < ids.size(); ++i)
    sum += std::pow(static_cast<double>(logits[ids[i]]) - samples[i], 2);
  return std::sqrt(sum / static_cast<double>(ids.size())) / rms;
}

TEST_F(SmolLM2Logits, UnquantizedAreTheReferences) {
  const std::vector<int32_t> ids = read_npy(reference_file("sample_ids")).ints;
  const std::vector<float> samples = read_npy(reference_file("text_samples")).floats;
  const std::vector<float> statistics = read_npy(reference_file("statistics")).floats;
  const std::vector<int32_t> top_ids = read_npy(reference_file("top_ids")).ints;
  const std::vector<float> top = read_npy(reference_file("top_logits")).floats;
  const LoadedModel m = SmolLM2("q0f32").load(0, {.context_tokens = 64, .prefill_chunk = 64});
  const auto vocab = static_cast<size_t>(m->vocab_size());
  double largest = 0;
  int compared = 0, near_ties = 0;
  for (size_t s = 0; s < tokens.size() / kPositions; ++s) {
    must(m->sequences().add(1));
    const std::vector<float> logits = m.step({{1, row(s)}}, WantLogits::kAll);
    for (size_t p = 0; p < kPositions; ++p) {
      const size_t at = s * kPositions + p;
      const float* got = logits.data() + p * vocab;
      const double rms = statistics[2 * at + 1];
      if (s < 3) {
        const double error = sampled_error(got, ids, samples.data() + at * ids.size(), rms);
        largest = std::max(largest, error);
        EXPECT_LT(error, kRequired) << "text " << s << ", position " << p;
        EXPECT_LT(error, kFloatBound) << "text " << s << ", position " << p;
      }
      if (top[8 * at] - top[8 * at + 1] <= 2 * kRequired * rms) {
        ++near_ties;
        continue;
      }
      ++compared;
      EXPECT_EQ(std::max_element(got, got + vocab) - got, top_ids[8 * at])
          << "sequence " << s << ", position " << p;
    }
    if (s == 0) {
      const std::vector<float> full = read_npy(reference_file("full_logits")).floats;
      EXPECT_LT(relative_rms(logits.data() + (kPositions - 1) * vocab, full.data(), vocab), kFloatBound);
    }
    must(m->sequences().remove(1));
  }
  EXPECT_GT(compared, 800);
  std::printf("largest relative RMS %.2e; argmax equal at %d positions, %d near ties left out\n", largest,
              compared, near_ties);
}

class SmolLM2Quantized : public SmolLM2Logits, public ::testing::WithParamInterface<const char*> {};

TEST_P(SmolLM2Quantized, LogitsAreTheInterpreters) {
  ReferenceModel reference(smollm2_file(), GetParam(), Storage::kAsStored);
  const LoadedModel m = SmolLM2(GetParam()).load(0, {.context_tokens = 64, .prefill_chunk = 64});
  const auto vocab = static_cast<size_t>(m->vocab_size());
  double largest = 0;
  int compared = 0, near_ties = 0;
  for (size_t s = 0; s < tokens.size() / kPositions; ++s) {
    const std::vector<int32_t> text(row(s).begin(), row(s).end());
    const graph::HostTensor expected = reference.step("decode", {{.tokens = text, .pages = {5, 2, 9, 0}}});
    must(m->sequences().add(1));
    const std::vector<float> logits = m.step({{1, text}}, WantLogits::kAll);
    must(m->sequences().remove(1));
    for (size_t p = 0; p < kPositions; ++p) {
      SCOPED_TRACE(str("sequence ", s, ", position ", p));
      const float* got = logits.data() + p * vocab;
      const float* want = expected.floats.data() + p * vocab;
      const double error = relative_rms(got, want, vocab);
      largest = std::max(largest, error);
      EXPECT_LT(error, kFloatBound);
      const float* best = std::max_element(want, want + vocab);
      float second = -INFINITY;
      for (size_t i = 0; i < vocab; ++i)
        if (want + i != best) second = std::max(second, want[i]);
      if (*best - second <= 2 * kFloatBound * std::abs(*best)) {
        ++near_ties;
        continue;
      }
      ++compared;
      EXPECT_EQ(std::max_element(got, got + vocab) - got, best - want);
    }
  }
  EXPECT_GT(compared, 800);
  std::printf("%s: largest relative RMS %.2e; argmax equal at %d positions, %d near ties left out\n",
              GetParam(), largest, compared, near_ties);
}

INSTANTIATE_TEST_SUITE_P(Schemes, SmolLM2Quantized,
                         ::testing::Values("q0bf16", "q0f16", "q3f16_0", "q3f16_1", "q4bf16_0", "q4bf16_1",
                                           "q4f16_0", "q4f16_1", "q4f16_2", "q4f32_1"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace mlc::testing
