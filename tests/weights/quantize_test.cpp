// The calibrated quantizers on every toy: what they run is what the graph interpreter runs, what they choose
// is nearer to the source than what mlc chooses, and it is the same for any number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "formats/quant/group.h"
#include "formats/shards.h"
#include "frontend/model.h"
#include "graph/interpret.h"
#include "support/temp_folder.h"
#include "support/toys.h"
#include "weights/convert.h"
#include "weights/quantize/calibrate.h"
#include "weights/source.h"

namespace mlc::weights {
namespace {

using graph::HostTensor;

template <typename T>
T must(Result<T> result) {
  if (!result.is_ok()) throw std::runtime_error(result.status().message());
  return std::move(result).value();
}

// `count` windows of `rows` tokens, drawn evenly.
Windows draw_windows(int64_t vocab, int64_t count, int64_t rows, uint32_t seed) {
  Windows windows;
  for (int64_t i = 0; i < count * rows; ++i) {
    seed = seed * 1664525 + 1013904223;
    windows.tokens.push_back(static_cast<int32_t>((seed >> 8) % static_cast<uint32_t>(vocab)));
  }
  for (int64_t i = 0; i < count; ++i) windows.begins.push_back((i + 1) * rows);
  return windows;
}

struct Toy {
  ModelSource source;
  frontend::BuiltModel built;
  Plan plan;

  Toy(const std::string& name, const std::string& scheme_name) {
    source = must(open_source({.config = mlc::testing::toy_file(name, "config.json")}));
    const QuantScheme scheme = *find_quant_scheme(scheme_name);
    const frontend::BuiltModel model = frontend::build_model(source.config, scheme);
    plan = must(make_plan(model.parameters, model.unused_sources, scheme, source.checkpoint.get(), name,
                          {.ignore_extra = true}));
    if (source.config.sliding_window_size > 0) {
      frontend::ConfigOverrides none;
      none.sliding_window_size = -1;
      EXPECT_TRUE(frontend::apply_overrides(source.config, none).is_ok());
    }
    built = frontend::build_model(source.config, *find_quant_scheme("q0f32"));
  }
  int64_t vocab() const { return frontend::model_shape(source.config).vocab; }

  // Every parameter as floats: of the source, or of what is packed by mlc (`quantizer` nullptr) or another.
  std::map<std::string, HostTensor> parameters(bool packed, const RowQuantizer* quantizer) const {
    std::map<std::string, HostTensor> all;
    std::vector<std::byte> scratch;
    for (const ParameterPlan& p : plan.parameters) {
      std::vector<float> values;
      read_values(p, *source.checkpoint, 0, p.rows, scratch, values);
      if (packed && p.format.is_quantized()) {
        const int64_t words = p.format.words(p.row_size), scales = p.format.groups(p.row_size) * 2;
        std::vector<uint32_t> w(static_cast<size_t>(p.rows * words));
        std::vector<std::byte> s(static_cast<size_t>(p.rows * scales));
        if (quantizer) {
          EXPECT_TRUE(quantizer->pack(p, 0, values, w.data(), s.data()).is_ok());
        }
        for (int64_t r = 0; !quantizer && r < p.rows; ++r)
          quantize_row(p.format, {values.data() + r * p.row_size, size_t(p.row_size)}, w.data() + r * words,
                       s.data() + r * scales);
        unpack_rows(1, p.format, p.row_size, w.data(), s.data(), values);
      }
      all[p.parameter.name] = {DType::kF32, p.shape, std::move(values), {}};
    }
    return all;
  }

  // Logits, or an encoder's hidden states, of one window by the graph interpreter.
  HostTensor run(const std::map<std::string, HostTensor>& parameters, const Windows& windows) const {
    StepArguments arguments = must(step_arguments(source.config, windows));
    const auto rows = static_cast<int32_t>(windows.rows()), pages = (rows + 15) / 16;
    HostTensor ids{DType::kI32, {pages}, {}, {}};
    for (int32_t i = 0; i < pages; ++i) ids.ints.push_back(i);
    arguments["page_ids"] = ids;
    arguments["page_indptr"] = {DType::kI32, {2}, {}, {0, pages}};
    arguments["row_indptr"] = {DType::kI32, {2}, {}, {0, rows}};
    arguments["slot_ids"] = {DType::kI32, {1}, {}, {0}};
    auto states = graph::make_states(*built.module, pages, 1);
    auto provide = [&](const std::string& name) -> const HostTensor& { return parameters.at(name); };
    arguments["input_embeds"] = graph::interpret(*built.module, "embed", arguments, provide, states)[0];
    HostTensor hidden =
        graph::interpret(*built.module, "prefill_to_last_hidden_states", arguments, provide, states)[0];
    if (!built.module->find_function("get_logits")) return hidden;
    arguments["hidden_states"] = std::move(hidden);
    return graph::interpret(*built.module, "get_logits", arguments, provide, states)[0];
  }
};

// Mean KL(a || b) of the rows' distributions.
double divergence(const HostTensor& a, const HostTensor& b) {
  const int64_t rows = a.shape[0], n = a.shape[1];
  double sum = 0;
  for (int64_t r = 0; r < rows; ++r) {
    double za = 0, zb = 0;
    const float *x = a.floats.data() + r * n, *y = b.floats.data() + r * n;
    for (int64_t i = 0; i < n; ++i) za += std::exp(double{x[i]}), zb += std::exp(double{y[i]});
    for (int64_t i = 0; i < n; ++i)
      sum += std::exp(double{x[i]}) / za * (double{x[i]} - y[i] - std::log(za) + std::log(zb));
  }
  return sum / static_cast<double>(rows);
}

double distance(const HostTensor& a, const HostTensor& b) {
  double error = 0, size = 0;
  for (size_t i = 0; i < a.floats.size(); ++i)
    error += std::pow(a.floats[i] - b.floats[i], 2), size += std::pow(b.floats[i], 2);
  return std::sqrt(error / size);
}

class Quantize : public ::testing::TestWithParam<std::string> {};

// A stream computes in f32 what the interpreter computes in f64: differences are roundings, 2^-24 each, of
// sums over K terms that add up by squares over the layers.
TEST_P(Quantize, AStreamComputesTheModel) {
  const Toy toy(GetParam(), "q4f16_1");
  const auto parameters = toy.parameters(false, nullptr);
  const Windows windows = draw_windows(toy.vocab(), 1, 40, 1);
  const StepArguments arguments = must(step_arguments(toy.source.config, windows));
  Stream stream(*toy.built.module, windows, arguments,
                {[&](const std::string& name) { return parameters.at(name); },
                 [&](const std::string& name, std::span<const int32_t> rows) {
                   const HostTensor& table = parameters.at(name);
                   HostTensor out{DType::kF32, {static_cast<int64_t>(rows.size()), table.shape[1]}, {}, {}};
                   for (int32_t row : rows)
                     out.floats.insert(out.floats.end(), table.floats.begin() + row * table.shape[1],
                                       table.floats.begin() + (row + 1) * table.shape[1]);
                   return out;
                 }},
                2);
  const graph::Value* last = nullptr;
  for (const char* name : {"embed", "prefill_to_last_hidden_states", "get_logits"}) {
    const graph::Function* function = toy.built.module->find_function(name);
    if (!function) continue;
    for (const graph::Value* a : function->arguments)
      if (last && (a->name == "input_embeds" || a->name == "hidden_states"))
        stream.set(a, stream.value(last));
    for (const auto& node : function->nodes) {
      const bool linear = node->op == "matmul" || node->op == "expert_matmul";
      if (!linear) {
        stream.run(*node);
        continue;
      }
      const HostTensor& w = parameters.at(node->inputs[1]->name);
      if (node->op == "matmul") stream.multiply(*node, w.floats);
      const int64_t size = w.shape.size() > 2 ? w.shape[1] * w.shape[2] : 0;
      for (int64_t e = 0; size > 0 && e < w.shape[0]; ++e)
        stream.multiply_expert(*node, stream.expert_rows(*node, e),
                               {w.floats.data() + e * size, static_cast<size_t>(size)});
    }
    last = function->results[0];
  }
  EXPECT_LT(distance(stream.value(last), toy.run(parameters, windows)), 2e-5) << GetParam();
}

void expect_never_worse(const std::string& name, const char* scheme) {
  const Toy toy(name, scheme);
  // Where distributions are all but certain (gemma's: a KL of 1e-7), or where there are none, logits are
  // compared.
  const bool by_logits = name == "gemma" || !toy.built.module->find_function("get_logits");
  std::vector<Windows> held_out;
  std::vector<HostTensor> exact;
  for (uint32_t seed : {77, 78, 79}) {
    held_out.push_back(draw_windows(toy.vocab(), 1, 32, seed));
    exact.push_back(toy.run(toy.parameters(false, nullptr), held_out.back()));
  }
  auto error = [&](const RowQuantizer* quantizer) {
    const auto parameters = toy.parameters(true, quantizer);
    double sum = 0;
    for (size_t i = 0; i < held_out.size(); ++i) {
      const HostTensor got = toy.run(parameters, held_out[i]);
      sum += by_logits ? distance(got, exact[i]) : divergence(exact[i], got);
    }
    return sum;
  };
  const double mlc = error(nullptr);
  for (const Quantizer quantizer : {Quantizer::kGood, Quantizer::kBest}) {
    mlc::testing::TempFolder folder;
    auto chosen = must(
        calibrate(toy.source.config, toy.plan, *toy.source.checkpoint, draw_windows(toy.vocab(), 12, 40, 5),
                  {.quantizer = quantizer, .threads = 2, .folder = folder.path(), .fingerprint = "x"}));
    const double ours = error(chosen.get());
    EXPECT_LE(ours, mlc) << name << (quantizer == Quantizer::kGood ? " good" : " best");
  }
}

TEST_P(Quantize, IsNeverWorseThanMlc) { expect_never_worse(GetParam(), "q4f16_1"); }
TEST_P(Quantize, IsNeverWorseThanMlcIn3Bits) { expect_never_worse(GetParam(), "q3f16_1"); }
TEST(QuantizeBytesOf8Bits, AreNeverWorseThanMlc) { expect_never_worse("llama", "q8f16_1"); }

INSTANTIATE_TEST_SUITE_P(Toys, Quantize, ::testing::ValuesIn(mlc::testing::toys_with_logits()),
                         [](const auto& info) { return info.param; });

TEST(QuantizeBySize, IsGoodUpTo3BWhereCodesAreChosen) {
  Toy toy("llama", "q4f16_1"), floats("llama", "q0f16");
  EXPECT_EQ(quantizer_by_size(toy.plan), Quantizer::kGood);
  EXPECT_EQ(quantizer_by_size(floats.plan), Quantizer::kMlc);
  toy.plan.source_elements = 3'000'000'000;
  EXPECT_EQ(quantizer_by_size(toy.plan), Quantizer::kGood);
  toy.plan.source_elements = 3'000'000'001;
  EXPECT_EQ(quantizer_by_size(toy.plan), Quantizer::kMlc);
  toy.plan.source_elements = 1;
  for (ParameterPlan& p : toy.plan.parameters) p.exact = true;
  EXPECT_EQ(quantizer_by_size(toy.plan), Quantizer::kMlc) << "codes that are taken over are not chosen";
}

std::string index_of(const Toy& toy, Quantizer quantizer, int threads, const std::string& folder) {
  Plan plan = toy.plan;
  const CalibrateOptions options{
      .quantizer = quantizer, .threads = threads, .folder = folder, .fingerprint = "text"};
  auto chosen = must(calibrate(toy.source.config, plan, *toy.source.checkpoint,
                               draw_windows(toy.vocab(), 10, 33, 5), options));
  must(convert(plan, *toy.source.checkpoint, folder,
               {.threads = threads, .quantizer = chosen.get(), .choice = "text"}));
  return must(read_file(path_join(folder, "tensor-cache.json")));
}

TEST(QuantizeBytes, AreTheSameForAnyNumberOfThreadsAndAfterAnInterruption) {
  for (const char* name : {"llama3_tied", "qwen2_moe"})
    for (const char* scheme : {"q4f16_1", "q3f16_1", "q4f32_1"}) {
      const Toy toy(name, scheme);
      for (const Quantizer quantizer : {Quantizer::kGood, Quantizer::kBest}) {
        mlc::testing::TempFolder one, three;
        const std::string index = index_of(toy, quantizer, 1, one.path());
        EXPECT_EQ(index, index_of(toy, quantizer, 3, three.path())) << name << " " << scheme;
        if (quantizer == Quantizer::kGood) continue;
        // The last parameter that was chosen is cut in half, the others are taken over.
        const std::string file = path_join(one.path(), "convert_weight.chosen");
        const auto size = std::filesystem::file_size(file);
        std::filesystem::resize_file(file, size - 40);
        EXPECT_EQ(index, index_of(toy, quantizer, 2, one.path())) << name << " " << scheme;
        EXPECT_EQ(std::filesystem::file_size(file), size);
      }
    }
}

}  // namespace
}  // namespace mlc::weights
