// Every architecture at toy size: the interpreter's logits against the ones stored by transformers.
#include <gtest/gtest.h>

#include <cmath>

#include "support/npy.h"
#include "support/reference_model.h"
#include "support/toys.h"

namespace mlc::testing {
namespace {

// Two float32 computations of the same logits, each rounding every product sum of up to K terms (error 2^-24
// * sqrt(K) of its size, rounding errors being independent) in about 8 steps a layer + 2, which add up by
// squares: 2^-24 * sqrt(256) * sqrt(8 * 2 + 2) = 4.0e-6 for the toys of 2 layers whose longest K is 256;
// twice for two computations.
const double kFloatBound = 2 * std::ldexp(std::sqrt(256.0) * std::sqrt(8.0 * 2 + 2), -24);

struct Case {
  std::string toy, scheme, logits;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.toy << " " << c.scheme; }

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& toy : toys_with_logits()) {
    all.push_back({toy, "q0f32", "logits_fp32"});
    for (const char* scheme : {"q3f16_1", "q4f16_0", "q4f16_1", "q4f32_1"})
      if (file_exists(toy_file(toy, std::string("logits_") + scheme + ".npy")))
        all.push_back({toy, scheme, std::string("logits_") + scheme});
  }
  for (const auto& [toy, scheme] : kPackedToys) all.push_back({toy, scheme, "logits_fp32"});
  for (const char* toy : {"llama_awq", "llama_gptq"})
    all.push_back({toy, "q0f32", "logits_fp32"});  // codes as floats
  return all;
}

class Logits : public ::testing::TestWithParam<Case> {};

TEST_P(Logits, AreTransformers) {
  const Case& c = GetParam();
  ReferenceModel model(toy_file(c.toy, ""), c.scheme, Storage::kExact);
  const NpyArray tokens = read_npy(toy_file(c.toy, "tokens.npy"));
  const NpyArray expected = read_npy(toy_file(c.toy, c.logits + ".npy"));
  const graph::HostTensor logits = model.step("decode", {{.tokens = tokens.ints, .pages = {5, 3}}});
  ASSERT_EQ(logits.shape, expected.shape);
  const size_t vocab = static_cast<size_t>(logits.shape[1]);
  for (size_t row = 0; row < tokens.ints.size(); ++row)
    EXPECT_LT(relative_rms(logits.floats.data() + row * vocab, expected.floats.data() + row * vocab, vocab),
              kFloatBound)
        << "at position " << row;
}

INSTANTIATE_TEST_SUITE_P(Toys, Logits, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.toy + "_" + info.param.scheme; });

// Where the rotation depends on the text's length: a prompt, then single steps over the same cache.
class Steps : public ::testing::TestWithParam<std::string> {};

TEST_P(Steps, AreTransformers) {
  ReferenceModel model(toy_file(GetParam(), ""), "q0f32", Storage::kExact);
  const std::vector<int32_t> tokens = read_npy(toy_file(GetParam(), "tokens.npy")).ints;
  const NpyArray expected = read_npy(toy_file(GetParam(), "logits_steps_fp32.npy"));
  const size_t vocab = static_cast<size_t>(expected.shape[1]);
  for (size_t begin = 0, end = 12; begin < tokens.size(); begin = end++) {
    const SequenceStep step{
        .tokens = {tokens.begin() + static_cast<int64_t>(begin), tokens.begin() + static_cast<int64_t>(end)},
        .start = static_cast<int32_t>(begin),
        .pages = {5, 3}};
    const graph::HostTensor logits = model.step("decode", {step});
    for (size_t row = begin; row < end; ++row)
      EXPECT_LT(relative_rms(logits.floats.data() + (row - begin) * vocab,
                             expected.floats.data() + row * vocab, vocab),
                kFloatBound)
          << "at position " << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Toys, Steps, ::testing::ValuesIn(toys_with("logits_steps_fp32.npy")),
                         [](const auto& info) { return info.param; });

class Functions : public ::testing::TestWithParam<std::string> {
 protected:
  // Logits of all positions in one step: what every other way of running must give too.
  void SetUp() override {
    tokens = read_npy(toy_file(GetParam(), "tokens.npy")).ints;
    tokens.resize(16);  // one page; no length changes the rotation within it
    expected = model().step("decode", {{.tokens = tokens, .pages = {5}}});
  }

  static ReferenceModel model() {
    return ReferenceModel(toy_file(GetParam(), ""), "q4f16_1", Storage::kAsStored);
  }

  std::vector<int32_t> slice(size_t begin, size_t end) const {
    return {tokens.begin() + static_cast<int64_t>(begin), tokens.begin() + static_cast<int64_t>(end)};
  }

  // Row `row` of `got` has the logits of position `position`. The interpreter's arithmetic per row does not
  // depend on the other rows, so the values are equal.
  void expect_row(const graph::HostTensor& got, size_t row, size_t position) const {
    const size_t vocab = static_cast<size_t>(expected.shape[1]);
    ASSERT_GE(got.floats.size(), (row + 1) * vocab);
    for (size_t i = 0; i < vocab; ++i)
      ASSERT_EQ(got.floats[row * vocab + i], expected.floats[position * vocab + i])
          << "position " << position;
  }

  std::vector<int32_t> tokens;
  graph::HostTensor expected;
};

TEST_P(Functions, PrefillThenDecode) {
  ReferenceModel m = model();
  const graph::HostTensor first = m.step("prefill", {{.tokens = slice(0, 9), .pages = {7}}}, {8});
  EXPECT_EQ(first.shape[0], 1);
  expect_row(first, 0, 8);
  for (size_t at = 9; at < tokens.size(); ++at)
    expect_row(
        m.step("decode", {{.tokens = slice(at, at + 1), .start = static_cast<int32_t>(at), .pages = {7}}}), 0,
        at);
}

// Past every window of the toys.
TEST_P(Functions, ChunksOfFive) {
  ReferenceModel m = model();
  for (size_t begin = 0; begin < tokens.size(); begin += 5) {
    const size_t end = std::min(begin + 5, tokens.size());
    const graph::HostTensor got =
        m.step("decode", {{.tokens = slice(begin, end), .start = static_cast<int32_t>(begin), .pages = {7}}});
    for (size_t at = begin; at < end; ++at) expect_row(got, at - begin, at);
  }
}

TEST_P(Functions, RaggedBatchesShareNothing) {
  ReferenceModel m = model();
  const std::vector<int32_t> other(20, 3);  // crosses a page
  const graph::HostTensor first = m.step(
      "batch_prefill", {{.tokens = other, .pages = {9, 1}}, {.tokens = slice(0, 5), .pages = {4}}}, {24, 19});
  ASSERT_EQ(first.shape[0], 2);
  expect_row(first, 0, 4);
  const graph::HostTensor second = m.step("batch_decode", {{.tokens = slice(5, 6), .start = 5, .pages = {4}},
                                                           {.tokens = {3}, .start = 20, .pages = {9, 1}}});
  ASSERT_EQ(second.shape[0], 2);
  expect_row(second, 0, 5);
}

TEST_P(Functions, HiddenStatesGiveTheSameLogits) {
  ReferenceModel m = model();
  const std::vector<SequenceStep> steps = {{.tokens = tokens, .pages = {0}}};
  const graph::HostTensor hidden = m.step("batch_prefill_to_last_hidden_states", steps);
  graph::HostTensor wanted;
  wanted.dtype = DType::kI32;
  wanted.shape = {2};
  wanted.ints = {15, 3};
  const graph::HostTensor rows =
      m.run("batch_select_last_hidden_states", {{"hidden_states", hidden}, {"logit_positions", wanted}});
  const graph::HostTensor logits = m.run("get_logits", {{"hidden_states", rows}});
  expect_row(logits, 0, 15);
  expect_row(logits, 1, 3);
  for (const char* name : {"prefill", "decode", "batch_decode", "batch_verify"})
    EXPECT_EQ(m.step(std::string(name) + "_to_last_hidden_states", steps).floats, hidden.floats) << name;
}

TEST_P(Functions, CopiedPagesContinueTheSequence) {
  ReferenceModel m = model();
  m.step("prefill", {{.tokens = slice(0, 9), .pages = {7}}}, {8});
  m.copy_pages({7}, {3});
  m.step("decode", {{.tokens = {1}, .start = 9, .pages = {7}}});
  expect_row(m.step("decode", {{.tokens = slice(9, 10), .start = 9, .pages = {3}}}), 0, 9);
}

INSTANTIATE_TEST_SUITE_P(Toys, Functions, ::testing::ValuesIn(toys_with_logits()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mlc::testing
