// Encoders at toy size: the last hidden states of whole texts against transformers', alone and in a ragged
// batch, by the interpreter and compiled.
#include <gtest/gtest.h>

#include <cmath>

#include "support/compiled_model.h"
#include "support/native_kernels.h"
#include "support/npy.h"
#include "support/poisoned_device.h"
#include "support/reference_model.h"

namespace mlc::testing {
namespace {

using runtime::WantLogits;

// As in logits_test.cpp: two computations in float32.
const double kFloatBound = 2 * std::ldexp(std::sqrt(256.0) * std::sqrt(8.0 * 2 + 2), -24);

class Encoder : public ::testing::TestWithParam<std::string> {
 protected:
  static std::vector<int32_t> tokens() { return read_npy(toy_file(GetParam(), "tokens.npy")).ints; }

  static void expect_close(const std::vector<float>& got, const std::vector<float>& expected,
                           const std::string& what) {
    const size_t hidden = expected.size() / tokens().size();
    ASSERT_EQ(got.size(), expected.size()) << what;
    for (size_t at = 0; at < got.size(); at += hidden)
      EXPECT_LT(relative_rms(got.data() + at, expected.data() + at, hidden), kFloatBound)
          << what << ", token " << at / hidden;
  }

  // The texts of a padded batch without their padding, and their states.
  struct Batch {
    std::vector<std::vector<int32_t>> texts;
    std::vector<float> states;
  };
  static Batch batch() {
    const NpyArray ids = read_npy(toy_file(GetParam(), "batch_tokens.npy")),
                   mask = read_npy(toy_file(GetParam(), "batch_mask.npy")),
                   states = read_npy(toy_file(GetParam(), "batch_last_hidden_fp32.npy"));
    const auto length = static_cast<size_t>(ids.shape[1]), hidden = static_cast<size_t>(states.shape[2]);
    Batch out;
    for (size_t i = 0; i < ids.ints.size(); ++i) {
      if (i % length == 0) out.texts.emplace_back();
      if (mask.ints[i] == 0) continue;
      out.texts.back().push_back(ids.ints[i]);
      out.states.insert(out.states.end(), states.floats.begin() + static_cast<int64_t>(i * hidden),
                        states.floats.begin() + static_cast<int64_t>((i + 1) * hidden));
    }
    return out;
  }

  LoadedModel load(const std::string& scheme, bool raw_f32) {
    convert_checkpoint(toy_file(GetParam(), ""), scheme, folder.path(), raw_f32);
    compile_to(folder.file("model.so"), toy_config(GetParam(), scheme), 0, {runnable_targets().front()});
    return LoadedModel::load(must(PoisonedDevice::open(2)), folder.file("model.so"), folder.path(),
                             {.max_sequences = 2, .total_tokens = 96, .shuffle_pages = 5});
  }

  TempFolder folder;
};

TEST_P(Encoder, TheInterpretersStatesAreTransformers) {
  ReferenceModel model(toy_file(GetParam(), ""), "q0f32", Storage::kExact);
  expect_close(model.step("prefill", {{.tokens = tokens(), .pages = {5, 2}}}).floats,
               read_npy(toy_file(GetParam(), "last_hidden_fp32.npy")).floats, "the interpreter");
}

TEST_P(Encoder, CompiledStatesOfQuantizedWeightsAreTheInterpreters) {
  ReferenceModel reference(toy_file(GetParam(), ""), "q4f16_1", Storage::kAsStored);
  const LoadedModel m = load("q4f16_1", false);
  must(m->sequences().add(1));
  expect_close(m.step({{1, tokens()}}, WantLogits::kHiddenStates),
               reference.step("prefill", {{.tokens = tokens(), .pages = {5, 2}}}).floats, "q4f16_1");
}

TEST_P(Encoder, CompiledStatesAreTransformers) {
  const LoadedModel m = load("q0f32", true);
  EXPECT_TRUE(m->is_encoder());
  EXPECT_EQ(find_string(m->manifest(), "model_task"), "embedding");
  must(m->sequences().add(1));
  expect_close(m.step({{1, tokens()}}, WantLogits::kHiddenStates),
               read_npy(toy_file(GetParam(), "last_hidden_fp32.npy")).floats, "alone");
  // What follows would not be seen by what came before.
  const std::vector<int32_t> more = {5};
  const runtime::StepSequence next[] = {{1, more}};
  EXPECT_NE(m->step(next, WantLogits::kHiddenStates).status().message().find("reads a text in one step"),
            std::string::npos);
  must(m->sequences().remove(1));
  const Batch texts = batch();
  ASSERT_EQ(texts.texts.size(), 2u);
  for (int64_t id : {1, 2}) must(m->sequences().add(id));
  const std::vector<float> together =
      m.step({{1, texts.texts[0]}, {2, texts.texts[1]}}, WantLogits::kHiddenStates);
  const size_t hidden = static_cast<size_t>(m->hidden_size());
  ASSERT_EQ(together.size(), texts.states.size());
  for (size_t at = 0; at < together.size(); at += hidden)
    EXPECT_LT(relative_rms(together.data() + at, texts.states.data() + at, hidden), kFloatBound)
        << "row " << at / hidden << " of the batch";
}

INSTANTIATE_TEST_SUITE_P(Toys, Encoder, ::testing::ValuesIn(toys_with("last_hidden_fp32.npy")),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mlc::testing
