// Every architecture at toy size on every GPU device of this machine: its logits against the graph
// interpreter, at O0, by all ways of running the same tokens.
#include <gtest/gtest.h>

#include <cmath>

#include "formats/quant/scheme.h"
#include "support/compiled_model.h"
#include "support/gpu_devices.h"
#include "support/npy.h"
#include "support/reference_model.h"
#include "support/text_tree.h"

namespace mlc::testing {
namespace {

using runtime::StepSequence;
using runtime::WantLogits;

// The bound of logits_test.cpp: two float32 computations of toys with sums of at most 256 terms.
double float_bound(int64_t layers) {
  return 2 * std::ldexp(std::sqrt(256.0) * std::sqrt(8.0 * static_cast<double>(layers) + 2), -24);
}

struct Case {
  std::string toy, scheme;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.toy << " " << c.scheme; }

// One toy in a scheme of each kind, all others in the usual one.
std::vector<Case> cases() {
  std::vector<Case> all = {{"llama", "q4f32_1"}, {"llama", "q3f16_0"}, {"llama", "q0f16"}};
  for (const std::string& toy : toys_with_logits()) all.push_back({toy, "q4f16_1"});
  return all;
}

class GpuModel : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    tokens = read_npy(toy_file(GetParam().toy, "tokens.npy")).ints;
    // Where rotations depend on the text's length: those within which none does.
    if (file_exists(toy_file(GetParam().toy, "logits_steps_fp32.npy"))) tokens.resize(16);
    convert_checkpoint(toy_file(GetParam().toy, ""), GetParam().scheme, folder.path());
    ReferenceModel reference(toy_file(GetParam().toy, ""), GetParam().scheme, Storage::kAsStored);
    expected = reference.step("decode", {{.tokens = tokens, .pages = {5, 2}}}).floats;
    vocab = expected.size() / tokens.size();
    bound = float_bound(frontend::model_shape(reference.config()).layers);
  }

  LoadedModel load(const GpuTarget& gpu) {
    const std::string path = folder.file(gpu.target.name + ".so");
    compile_to(path, toy_config(GetParam().toy, GetParam().scheme), 0, {gpu.target},
               verifies_trees(GetParam().toy));
    return LoadedModel::load(must(runtime::open_device(gpu.device)), path, folder.path(),
                             {.max_sequences = 4,
                              .context_tokens = 64,
                              .total_tokens = 160,
                              .prefill_chunk = 48,
                              .max_wanted = 40,
                              .shuffle_pages = 5});
  }

  std::span<const int32_t> slice(size_t begin, size_t end) const {
    return std::span(tokens).subspan(begin, end - begin);
  }

  // Row `row` of `got` has the logits of position `position`.
  void expect_row(const std::vector<float>& got, size_t row, size_t position, const std::string& what) {
    ASSERT_GE(got.size(), (row + 1) * vocab) << what;
    EXPECT_LT(relative_rms(got.data() + row * vocab, expected.data() + position * vocab, vocab), bound)
        << what << ", position " << position;
  }

  // Tokens of one sequence, to which it can come back from then on.
  void step_and_keep(LoadedModel& m, int64_t id, size_t begin, size_t end) {
    m.step({{id, slice(begin, end)}}, WantLogits::kNone);
    m->sequences().snapshot(id);
  }

  void one_sequence_in_every_way(LoadedModel& m) {
    for (int64_t id : {1, 2, 3}) must(m->sequences().add(id));
    const std::vector<float> verified = m.step({{1, tokens}}, WantLogits::kAll);
    for (size_t i = 0; i < tokens.size(); ++i) expect_row(verified, i, i, "verify");
    for (size_t i = 0; i < tokens.size(); ++i)
      expect_row(m.step({{2, slice(i, i + 1)}}, WantLogits::kLast), 0, i, "decode");
    m.step({{3, slice(0, 7)}}, WantLogits::kNone);
    m.step({{3, slice(7, 9)}}, WantLogits::kNone);
    expect_row(m.step({{3, slice(9, 16)}}, WantLogits::kLast), 0, 15, "chunked prefill");
  }

  void sequences_that_run_together(LoadedModel& m) {
    const std::vector<int32_t> other(37, 3);  // crosses two pages
    for (int64_t id : {1, 2, 3}) must(m->sequences().add(id));
    step_and_keep(m, 3, 0, 6);
    const std::vector<float> first =
        m.step({{1, std::span(other)}, {2, slice(0, 1)}, {3, slice(6, 9)}}, WantLogits::kLast);
    expect_row(first, 1, 0, "ragged");
    expect_row(first, 2, 8, "ragged");
    const std::vector<float> second =
        m.step({{3, slice(9, 10)}, {1, std::span(other).first(1)}, {2, slice(1, 2)}}, WantLogits::kLast);
    expect_row(second, 0, 9, "batch decode");
    expect_row(second, 2, 1, "batch decode");
    must(m->sequences().fork(3, 4, 6));                           // in the middle of a page
    m.step({{3, std::span(other).first(1)}}, WantLogits::kLast);  // must not show in the fork
    step_and_keep(m, 4, 6, 8);
    expect_row(m.step({{4, slice(8, 16)}}, WantLogits::kLast), 0, 15, "fork");
    must(m->sequences().rewind(4, 8));
    expect_row(m.step({{4, slice(8, 12)}}, WantLogits::kLast), 0, 11, "rewind");
  }

  void trees(LoadedModel& m) {
    if (!m->verifies_trees()) return;
    for (int64_t id : {1, 2}) must(m->sequences().add(id));
    const TextTree tree(slice(5, 16));
    m.step({{2, slice(0, 5)}}, WantLogits::kNone);
    const std::vector<float> got = m.step({{1, slice(0, 9)}, tree.step(2)}, WantLogits::kLast);
    expect_row(got, 0, 8, "beside a tree");
    for (size_t i = 0; i < tree.rows.size(); ++i) expect_row(got, 1 + tree.rows[i], 5 + i, "tree");
    m->sequences().commit(2, 1);  // of the text the first alone lies where it belongs
    expect_row(m.step({{2, slice(6, 16)}}, WantLogits::kLast), 0, 15, "after a tree");
  }

  TempFolder folder;
  std::vector<int32_t> tokens;
  std::vector<float> expected;
  size_t vocab = 0;
  double bound = 0;
};

TEST_P(GpuModel, LogitsAreTheInterpreters) {
  for (const GpuTarget& gpu : best_gpu_targets()) {
    SCOPED_TRACE(gpu.target.name);
    LoadedModel m = load(gpu);
    one_sequence_in_every_way(m);
    for (int64_t id : {1, 2, 3}) must(m->sequences().remove(id));
    sequences_that_run_together(m);
    for (int64_t id : {1, 2, 3, 4}) must(m->sequences().remove(id));
    trees(m);
  }
}

// A text of an encoder, whose heads of 12 elements no 16 bytes divide.
TEST(GpuEncoder, StatesAreTheInterpreters) {
  const std::string toy = "bert", scheme = "q4f16_1";
  const std::vector<int32_t> tokens = read_npy(toy_file(toy, "tokens.npy")).ints;
  TempFolder folder;
  convert_checkpoint(toy_file(toy, ""), scheme, folder.path());
  ReferenceModel reference(toy_file(toy, ""), scheme, Storage::kAsStored);
  const std::vector<float> expected = reference.step("prefill", {{.tokens = tokens, .pages = {5, 2}}}).floats;
  for (const GpuTarget& gpu : best_gpu_targets()) {
    const std::string path = folder.file(gpu.target.name + ".so");
    compile_to(path, toy_config(toy, scheme), 0, {gpu.target});
    LoadedModel m = LoadedModel::load(must(runtime::open_device(gpu.device)), path, folder.path(),
                                      {.max_sequences = 1, .total_tokens = 96, .shuffle_pages = 5});
    must(m->sequences().add(1));
    const std::vector<float> got = m.step({{1, tokens}}, WantLogits::kHiddenStates);
    ASSERT_EQ(got.size(), expected.size());
    const size_t hidden = expected.size() / tokens.size();
    for (size_t at = 0; at < got.size(); at += hidden)
      EXPECT_LT(relative_rms(got.data() + at, expected.data() + at, hidden), float_bound(2))
          << gpu.target.name << ", token " << at / hidden;
  }
}

INSTANTIATE_TEST_SUITE_P(Toys, GpuModel, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.toy + "_" + info.param.scheme; });

}  // namespace
}  // namespace mlc::testing
