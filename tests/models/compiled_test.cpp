// Every architecture at toy size, compiled at O0 for every CPU variant that runs here and stepped by the
// runtime, in every quantization: its logits against transformers' (q0f32) and against the graph interpreter
// on the dequantized weights.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/target/target.h"
#include "formats/quant/scheme.h"
#include "support/compiled_model.h"
#include "support/native_kernels.h"
#include "support/npy.h"
#include "support/poisoned_device.h"
#include "support/reference_model.h"
#include "support/text_tree.h"

namespace mlc::testing {
namespace {

using runtime::ModelLimits;
using runtime::StepSequence;
using runtime::WantLogits;

// The bound of logits_test.cpp: two float32 computations of toys with sums of at most 256 terms.
double float_bound(int64_t layers) {
  return 2 * std::ldexp(std::sqrt(256.0) * std::sqrt(8.0 * static_cast<double>(layers) + 2), -24);
}
const double kFloatBound = float_bound(2);

// At O2 a difference in the last bits may move an activation's code by one, where x / scale, at most 127,
// lies as close to the middle of two codes as those bits reach: a share of 2 * 127 * kFloatBound of all
// codes. A step is 1/127 of a group's largest value, which is at most sqrt(32) times its rms; 8 matmuls of 2
// layers and the head add their errors' squares.
const double kCodeBound = std::sqrt(2 * 127 * kFloatBound) * std::sqrt(32.0) / 127 * std::sqrt(8.0 * 2 + 1);

// Where a matrix unit reads the prompt, its activations are bf16 and those of single rows are codes: half a
// step in each, evenly spread, of 1/127 of a group's largest value. A rounding to bf16, 2^-9 of a value, is
// no more than half of that.
const double kUnitBound = 1.5 * std::sqrt(32.0) / (127 * std::sqrt(12.0)) * std::sqrt(8.0 * 2 + 1);

struct Case {
  std::string toy, scheme;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.toy << " " << c.scheme; }

// One toy a family; the others run in two schemes.
bool listed_under_every_scheme(const std::string& toy) {
  return file_exists(toy_file(toy, "parameters.txt"));
}

// Schemes of 2023 beside today's of the same name differ in their bytes only: one toy each. Of 8-bit floats
// one more, and one with experts.
bool repeats_another(const QuantScheme& scheme, const std::string& toy) {
  if (scheme.linear.is_float8()) return toy != "llama" && toy != "gpt_neox" && toy != "mixtral";
  return scheme.name.ends_with("_2023") && toy != "llama";
}

// Whose stacks have no KN form, and no blocks of rows.
bool has_experts(const std::string& toy) {
  return read_file(toy_file(toy, "config.json"))->find("num_experts_per_tok") != std::string::npos;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& toy : toys_with_logits())
    for (const QuantScheme& scheme : quant_schemes())
      if (!scheme.linear.is_imported() && !repeats_another(scheme, toy) &&
          !((scheme.linear.transposed || scheme.linear.group_n > 1) && has_experts(toy)) &&
          (listed_under_every_scheme(toy) || scheme.name == "q0f32" || scheme.name == "q4f16_1"))
        all.push_back({toy, scheme.name});
  for (const auto& [toy, scheme] : kPackedToys) all.push_back({toy, scheme});
  return all;
}

class Compiled : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    all_tokens = read_npy(toy_file(GetParam().toy, "tokens.npy")).ints;
    tokens.assign(all_tokens.begin(),
                  all_tokens.begin() + 16);  // within which no length changes the rotation
    convert_checkpoint(toy_file(GetParam().toy, ""), GetParam().scheme, folder.path());
    ReferenceModel reference(toy_file(GetParam().toy, ""), GetParam().scheme, Storage::kAsStored);
    expected = reference.step("decode", {{.tokens = tokens, .pages = {5}}}).floats;
    vocab = expected.size() / tokens.size();
    bound = float_bound(frontend::model_shape(reference.config()).layers);
  }

  std::string library(const Target& target, int opt_level, bool tree_verify = false) {
    const std::string path =
        folder.file(str(target.name, "-O", opt_level, tree_verify ? "-trees" : "", ".so"));
    if (!file_exists(path))
      compile_to(path, toy_config(GetParam().toy, GetParam().scheme), opt_level, {target}, tree_verify);
    return path;
  }

  static ModelLimits limits(bool deterministic) {
    return {.max_sequences = 5,
            .context_tokens = 64,
            .total_tokens = 160,
            .prefill_chunk = 48,
            .max_wanted = 40,
            .shuffle_pages = 5,
            .deterministic = deterministic};
  }

  LoadedModel load(const Target& target, int threads = 2, int opt_level = 0, bool tree_verify = false) {
    LoadedModel m =
        LoadedModel::load(must(PoisonedDevice::open(threads)), library(target, opt_level, tree_verify),
                          folder.path(), limits(/*deterministic=*/false));
    PoisonedDevice::arena_is_allocated(*m.device);
    return m;
  }

  std::span<const int32_t> slice(size_t begin, size_t end) const {
    return std::span(tokens).subspan(begin, end - begin);
  }

  // Row `row` of `got` has the logits of position `position` within the bound, and their argmax where the
  // margin is clear.
  void expect_row(const std::vector<float>& got, size_t row, size_t position, const std::string& what) {
    ASSERT_GE(got.size(), (row + 1) * vocab) << what;
    const float* a = got.data() + row * vocab;
    const float* b = expected.data() + position * vocab;
    EXPECT_LT(relative_rms(a, b, vocab), bound) << what << ", position " << position;
    largest = std::max(largest, relative_rms(a, b, vocab));
    const float* best = std::max_element(b, b + vocab);
    float second = -INFINITY;
    for (size_t i = 0; i < vocab; ++i)
      if (b + i != best) second = std::max(second, b[i]);
    const double rms = std::sqrt(std::inner_product(b, b + vocab, b, 0.0) / static_cast<double>(vocab));
    if (*best - second > 2 * bound * rms) {
      EXPECT_EQ(std::max_element(a, a + vocab) - a, best - b) << what << ", position " << position;
    }
  }

  TempFolder folder;
  std::vector<int32_t> all_tokens, tokens;
  std::vector<float> expected;
  size_t vocab = 0;
  double bound = 0;  // two float32 computations of the toy
  double largest = 0;
};

// Every scheme on the best variant; one of each kind of format on every variant.
std::vector<Target> targets_for(const Case& c) {
  std::vector<Target> targets = runnable_targets();
  const bool all =
      c.scheme == "q0f32" || c.scheme == "q4f16_1" || c.scheme == "q3f16_1" || c.scheme == "e4m3_e4m3_f16";
  if (c.toy != "llama" || !all) targets.resize(1);
  return targets;
}

// All ways of running the same tokens.
TEST_P(Compiled, LogitsAreTheInterpreters) {
  for (const Target& target : targets_for(GetParam())) {
    LoadedModel m = load(target);
    must(m->sequences().add(1));
    const std::vector<float> verified = m.step({{1, tokens}}, WantLogits::kAll);
    for (size_t i = 0; i < tokens.size(); ++i) expect_row(verified, i, i, target.name + " verify");

    must(m->sequences().add(2));
    for (size_t i = 0; i < tokens.size(); ++i)
      expect_row(m.step({{2, slice(i, i + 1)}}, WantLogits::kLast), 0, i, target.name + " decode");

    must(m->sequences().add(3));
    m.step({{3, slice(0, 7)}}, WantLogits::kNone);
    m.step({{3, slice(7, 9)}}, WantLogits::kNone);
    expect_row(m.step({{3, slice(9, 16)}}, WantLogits::kLast), 0, 15, target.name + " chunked prefill");
  }
  RecordProperty("largest_relative_rms", str(largest));
}

class CompiledToy : public Compiled {};
class CompiledUnquantized : public Compiled {};

TEST_P(CompiledToy, SequencesShareNothing) {
  const std::vector<int32_t> other(37, 3);  // crosses two pages
  for (const Target& target : targets_for(GetParam())) {
    LoadedModel m = load(target);
    for (int64_t id : {1, 2, 3}) must(m->sequences().add(id));
    const std::vector<float> first =
        m.step({{1, std::span(other)}, {2, slice(0, 1)}, {3, slice(0, 6)}}, WantLogits::kLast);
    expect_row(first, 1, 0, target.name + " ragged");
    expect_row(first, 2, 5, target.name + " ragged");
    m->sequences().snapshot(3);  // recurrences come back to what was kept
    expect_row(m.step({{3, slice(6, 9)}}, WantLogits::kLast), 0, 8, target.name + " ragged");
    m->sequences().snapshot(3);
    const std::vector<float> second =
        m.step({{3, slice(9, 10)}, {1, std::span(other).first(1)}, {2, slice(1, 2)}}, WantLogits::kLast);
    expect_row(second, 0, 9, target.name + " batch decode");
    expect_row(second, 2, 1, target.name + " batch decode");

    must(m->sequences().fork(3, 4, 6));                           // in the middle of a page
    m.step({{3, std::span(other).first(1)}}, WantLogits::kLast);  // must not show in the fork
    m.step({{4, slice(6, 8)}}, WantLogits::kNone);
    m->sequences().snapshot(4);
    expect_row(m.step({{4, slice(8, 16)}}, WantLogits::kLast), 0, 15, target.name + " fork");
    must(m->sequences().rewind(4, 8));
    expect_row(m.step({{4, slice(8, 12)}}, WantLogits::kLast), 0, 11, target.name + " rewind");
    must(m->sequences().rewind(3, 9));  // its own tokens, not those of its fork
    expect_row(m.step({{3, slice(9, 16)}}, WantLogits::kLast), 0, 15, target.name + " parent of a fork");
  }
}

// Rows that are a tree see their ancestors alone, and stand where these put them.
TEST_P(CompiledToy, TreesAreVerifiedInOneStep) {
  if (!verifies_trees(GetParam().toy)) {
    EXPECT_THROW(library(runnable_targets().front(), 0, /*tree_verify=*/true), std::runtime_error);
    return;
  }
  for (const Target& target : targets_for(GetParam())) {
    EXPECT_FALSE(load(target)->verifies_trees());
    LoadedModel m = load(target, 2, 0, /*tree_verify=*/true);
    ASSERT_TRUE(m->verifies_trees());
    for (int64_t id : {1, 2}) must(m->sequences().add(id));
    const TextTree tree(slice(5, 16));
    m.step({{2, slice(0, 5)}}, WantLogits::kNone);
    const std::vector<float> got = m.step({{1, slice(0, 9)}, tree.step(2)}, WantLogits::kLast);
    expect_row(got, 0, 8, target.name + " beside a tree");
    for (size_t i = 0; i < tree.rows.size(); ++i)
      expect_row(got, 1 + tree.rows[i], 5 + i, target.name + " tree");
    m->sequences().commit(2, 1);  // of the text the first alone lies where it belongs
    expect_row(m.step({{2, slice(6, 16)}}, WantLogits::kLast), 0, 15, target.name + " after a tree");
  }
}

TEST_P(CompiledToy, ThreadsDoNotChangeTheResult) {
  const Target target = runnable_targets().front();
  std::vector<float> first;
  for (int threads : {1, 2, 3, 8}) {
    LoadedModel m = load(target, threads);
    must(m->sequences().add(1));
    std::vector<float> logits = m.step({{1, tokens}}, WantLogits::kAll);
    const std::vector<float> next = m.step({{1, slice(2, 3)}}, WantLogits::kLast);
    logits.insert(logits.end(), next.begin(), next.end());
    if (first.empty()) first = logits;
    EXPECT_EQ(std::memcmp(first.data(), logits.data(), 4 * first.size()), 0) << threads << " threads";
  }
}

// The same prompt in steps of one row, of few and of many takes other kernels, which sum in another order.
// Where the rotation depends on the text's length, chunks do more than that.
TEST_P(CompiledToy, ChunksOfThePromptChangeOnlyLastBits) {
  if (file_exists(toy_file(GetParam().toy, "logits_steps_fp32.npy"))) return;
  std::vector<int32_t> prompt(45);
  for (size_t i = 0; i < prompt.size(); ++i) prompt[i] = tokens[i * 7 % tokens.size()];
  std::vector<std::pair<Target, int>> settings = {{runnable_targets().front(), 0}};
  for (const Target& target : best_targets()) settings.push_back({target, 2});
  for (const auto& [target, opt_level] : settings) {
    const double most = opt_level == 0 ? bound : target.matrix_unit.rows ? kUnitBound : kCodeBound;
    LoadedModel m = load(target, 2, opt_level);
    std::vector<float> whole;
    int64_t id = 1;
    for (const std::vector<size_t>& chunks :
         {std::vector<size_t>{45}, {1, 44}, {44, 1}, {16, 29}, {17, 28}, {15, 15, 15}}) {
      must(m->sequences().add(id));
      std::vector<float> last;
      for (size_t done = 0, i = 0; i < chunks.size(); done += chunks[i++])
        last = m.step({{id, std::span(prompt).subspan(done, chunks[i])}}, WantLogits::kLast);
      must(m->sequences().remove(id++));
      if (whole.empty()) whole = last;
      EXPECT_LT(relative_rms(last.data(), whole.data(), vocab), most)
          << target.name << " O" << opt_level << ", first chunk of " << chunks[0];
    }
  }
}

// Without the reference between: weights stored in float32, as the checkpoint has them.
TEST_P(CompiledUnquantized, LogitsAreTransformers) {
  expected = read_npy(toy_file(GetParam().toy, "logits_fp32.npy")).floats;
  convert_checkpoint(toy_file(GetParam().toy, ""), "q0f32", folder.path(), /*raw_f32=*/true);
  LoadedModel m = load(runnable_targets().front());
  must(m->sequences().add(1));
  const std::vector<float> logits = m.step({{1, all_tokens}}, WantLogits::kAll);
  for (size_t i = 0; i < all_tokens.size(); ++i) expect_row(logits, i, i, "stored logits");
  if (!file_exists(toy_file(GetParam().toy, "logits_steps_fp32.npy"))) return;
  expected = read_npy(toy_file(GetParam().toy, "logits_steps_fp32.npy")).floats;
  must(m->sequences().add(2));
  std::span<const int32_t> rest(all_tokens);
  expect_row(m.step({{2, rest.first(12)}}, WantLogits::kLast), 0, 11, "prompt");
  for (size_t i = 12; i < rest.size(); ++i)
    expect_row(m.step({{2, rest.subspan(i, 1)}}, WantLogits::kLast), 0, i, "step");
}

std::vector<Case> toys_with(const std::string& scheme) {
  std::vector<Case> all;
  for (const std::string& toy : toys_with_logits()) all.push_back({toy, scheme});
  return all;
}

// Of toys that differ from another of their type in host code alone, as in the kind of rope_scaling, only
// that one.
std::vector<Case> toys_with_kernels_of_their_own(const std::string& scheme) {
  std::vector<Case> all = toys_with(scheme);
  std::erase_if(all, [](const Case& c) { return c.toy.starts_with("llama_") || c.toy == "phi3_longrope"; });
  return all;
}

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
  return info.param.toy + "_" + info.param.scheme;
}

// One body for any number of rows: equal bits whole, in chunks, token by token, beside another sequence and
// on any number of threads.
TEST_P(CompiledToy, DeterministicBitsDependOnTheSequenceAlone) {
  const std::vector<int32_t> other(21, 3);
  for (int opt_level : {0, 2}) {
    const Target target = runnable_targets().front();
    std::vector<std::vector<float>> runs;
    for (int threads : {1, 2}) {
      LoadedModel m = LoadedModel::load(must(PoisonedDevice::open(threads)), library(target, opt_level),
                                        folder.path(), limits(/*deterministic=*/true));
      PoisonedDevice::arena_is_allocated(*m.device);
      for (int64_t id : {1, 2, 3, 4, 5}) must(m->sequences().add(id));
      runs.push_back(m.step({{1, slice(0, 16)}}, WantLogits::kLast));
      m.step({{2, slice(0, 5)}}, WantLogits::kNone);
      runs.push_back(m.step({{2, slice(5, 16)}}, WantLogits::kLast));
      for (size_t i = 0; i < 15; ++i) m.step({{3, slice(i, i + 1)}}, WantLogits::kNone);
      runs.push_back(m.step({{3, slice(15, 16)}}, WantLogits::kLast));
      std::vector<float> both = m.step({{4, std::span(other)}, {5, slice(0, 16)}}, WantLogits::kLast);
      runs.emplace_back(both.begin() + static_cast<int64_t>(vocab), both.end());
    }
    for (size_t i = 1; i < runs.size(); ++i)
      EXPECT_TRUE(runs[i] == runs[0]) << target.name << " O" << opt_level << ", run " << i << ": "
                                      << relative_rms(runs[i].data(), runs[0].data(), vocab);
  }
}

INSTANTIATE_TEST_SUITE_P(Toys, Compiled, ::testing::ValuesIn(cases()), name_of);
INSTANTIATE_TEST_SUITE_P(Toys, CompiledToy, ::testing::ValuesIn(toys_with_kernels_of_their_own("q4f16_1")),
                         name_of);
INSTANTIATE_TEST_SUITE_P(EightBits, CompiledToy,
                         ::testing::Values(Case{"llama", "q8f16_1"}, Case{"llama", "e4m3_e4m3_f16"}),
                         name_of);
// Of these, weights in float32 are the checkpoint's. gemma's norms are stored as its bfloat16 w + 1, rounded.
std::vector<Case> exact_toys() {
  std::vector<Case> all = toys_with("q0f32");
  std::erase_if(all, [](const Case& c) { return c.toy == "gemma"; });
  return all;
}
INSTANTIATE_TEST_SUITE_P(Toys, CompiledUnquantized, ::testing::ValuesIn(exact_toys()), name_of);

}  // namespace
}  // namespace mlc::testing
