// The comparison of models on every toy, held to the graph interpreter on whole weights.
#include <gtest/gtest.h>

#include <cmath>

#include "support/reference_model.h"
#include "support/temp_folder.h"
#include "support/toys.h"
#include "weights/convert.h"
#include "weights/verify_model.h"

namespace mlc::weights {
namespace {

using mlc::testing::ReferenceModel;
using mlc::testing::Storage;

template <typename T>
T must(Result<T> result) {
  if (!result.is_ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

std::vector<int32_t> draw_tokens(int64_t vocab, int count) {
  std::vector<int32_t> tokens;
  uint32_t seed = 11;
  for (int i = 0; i < count; ++i) {
    seed = seed * 1664525 + 1013904223;
    tokens.push_back(static_cast<int32_t>((seed >> 8) % static_cast<uint32_t>(vocab)));
  }
  return tokens;
}

graph::HostTensor logits_of(ReferenceModel& model, const std::vector<int32_t>& tokens) {
  std::vector<int32_t> pages, rows;
  for (int32_t i = 0; i * 16 < static_cast<int32_t>(tokens.size()); ++i) pages.push_back(i);
  for (int32_t i = 0; i < static_cast<int32_t>(tokens.size()); ++i) rows.push_back(i);
  return model.step("prefill", {{tokens, 0, pages}}, rows);
}

// In f64, row by row, over the whole vocabulary at once.
std::vector<VerifyPosition> by_hand(const graph::HostTensor& a, const graph::HostTensor& b,
                                    const std::vector<int32_t>& tokens) {
  std::vector<VerifyPosition> positions;
  const int64_t n = a.shape[1];
  for (size_t r = 0; r + 1 < tokens.size(); ++r) {
    const float *x = a.floats.data() + static_cast<int64_t>(r) * n,
                *y = b.floats.data() + static_cast<int64_t>(r) * n;
    double za = 0, zb = 0, kl = 0;
    const double ma = *std::max_element(x, x + n), mb = *std::max_element(y, y + n);
    for (int64_t i = 0; i < n; ++i) za += std::exp(x[i] - ma), zb += std::exp(y[i] - mb);
    const double la = ma + std::log(za), lb = mb + std::log(zb);
    for (int64_t i = 0; i < n; ++i) kl += std::exp(x[i] - la) * (x[i] - la - (y[i] - lb));
    positions.push_back({kl, std::max_element(x, x + n) - x == std::max_element(y, y + n) - y,
                         la - x[tokens[r + 1]], lb - y[tokens[r + 1]]});
  }
  return positions;
}

class Verify : public ::testing::TestWithParam<std::string> {};

// Both compute the same sums, ours in f32: the tests of streams (tests/weights/quantize_test.cpp) hold hidden
// states to 2e-5 of their size. A divergence is quadratic in the difference of the logits, so its relative
// error is twice that of the difference, plus what the rounding of two nearly equal models leaves.
TEST_P(Verify, EqualsTheInterpreterOnWholeWeights) {
  const std::string folder = mlc::testing::toy_file(GetParam(), "");
  ReferenceModel exact(folder, "q0f32", Storage::kExact);
  if (frontend::gives_embeddings(exact.config())) return;
  for (const char* name : {"q4f16_1", "q4f32_1", "q3f16_0"}) {
    if (std::string(name) != "q4f16_1" && GetParam() != "llama") continue;
    SCOPED_TRACE(name);
    const QuantScheme scheme = *find_quant_scheme(name);
    const ModelSource source = must(open_source({.config = folder}));
    const frontend::BuiltModel built = frontend::build_model(source.config, scheme);
    Plan plan = must(make_plan(built.parameters, built.unused_sources, scheme, source.checkpoint.get(),
                               folder, {.ignore_extra = true}));
    mlc::testing::TempFolder out;
    must(convert(plan, *source.checkpoint, out.path(), {.threads = 2}));
    const auto a = must(OpenedModel::of_source(source, 2));
    const auto b = must(OpenedModel::of_folder(out.path(), source.config, scheme, 2));
    std::vector<int32_t> tokens = draw_tokens(frontend::model_shape(source.config).vocab, 40);
    const VerifyModel x = a->model(), y = b->model();
    Windows windows =
        must(verify_windows(x, y, tokens, 1000, 1000)).first(1);  // contexts of some are shorter
    tokens = windows.tokens;
    int64_t gone_through = 0;
    const VerifyReport report =
        must(compare_models(x, y, windows, "text", 2, [&](int64_t bytes) { gone_through += bytes; }));
    EXPECT_EQ(gone_through, verify_bytes(x) + verify_bytes(y));

    ReferenceModel stored(folder, name, Storage::kAsStored);
    const VerifyReport expected =
        make_verify_report("text", by_hand(logits_of(exact, tokens), logits_of(stored, tokens), tokens));
    ASSERT_EQ(report.positions, static_cast<int64_t>(tokens.size()) - 1);
    EXPECT_NEAR(report.kl_divergence, expected.kl_divergence, 1e-3 * expected.kl_divergence + 1e-7);
    EXPECT_NEAR(report.top1_agreement, expected.top1_agreement, 1e-12);
    // Losses are differences of logits, which are 2e-5 of their size off. Not gemma's: the reference adds one
    // to norms without rounding it to the source's dtype, as conversions and so --verify do.
    for (const auto& [ours, theirs] : {std::pair{report.perplexity_source, expected.perplexity_source},
                                       {report.perplexity_converted, expected.perplexity_converted}})
      if (GetParam() != "gemma")
        EXPECT_NEAR(std::log(ours), std::log(theirs), 1e-4 + 2e-5 * std::log(theirs));

    const VerifyReport same = must(compare_models(x, x, windows, "text", 2, {}));
    EXPECT_EQ(same.kl_divergence_max, 0);
    EXPECT_EQ(same.top1_agreement, 1);
  }
}

INSTANTIATE_TEST_SUITE_P(Toys, Verify, ::testing::ValuesIn(mlc::testing::toys_with_logits()),
                         [](const auto& info) { return info.param; });

TEST(VerifyWindows, AreCutByContextAndPositions) {
  const ModelSource source = must(open_source({.config = mlc::testing::toy_file("llama", "")}));
  const auto a = must(OpenedModel::of_source(source, 1));
  const VerifyModel m = a->model();
  const std::vector<int32_t> tokens = draw_tokens(frontend::model_shape(source.config).vocab, 25);
  EXPECT_EQ(must(verify_windows(m, m, tokens, 1000, 10)).begins, (std::vector<int64_t>{0, 10, 20, 25}));
  EXPECT_EQ(must(verify_windows(m, m, tokens, 12, 10)).begins, (std::vector<int64_t>{0, 10, 14}));
  EXPECT_EQ(must(verify_windows(m, m, std::span(tokens).first(11), 1000, 10)).begins,
            (std::vector<int64_t>{0, 10}));
  EXPECT_FALSE(verify_windows(m, m, std::span(tokens).first(1), 1000, 10).is_ok());
  frontend::ModelConfig wider = m.config;
  wider.fields["vocab_size"] = 999;
  const Status refused = verify_windows(m, {"other", wider, m.weights}, tokens, 1000, 10).status();
  EXPECT_NE(refused.message().find("other: has a vocabulary of 999 tokens"), std::string::npos)
      << refused.message();
}

}  // namespace
}  // namespace mlc::weights
