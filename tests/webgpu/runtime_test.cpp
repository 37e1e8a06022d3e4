// The runtime in WebAssembly on Dawn: what it computes is what its CPU computes from the same file, and a
// step costs one submission and one read and makes nothing.
#include <gtest/gtest.h>

#include <cmath>

#include "support/compiled_model.h"
#include "support/web_session.h"

namespace mlc::testing {
namespace {

// Of float32 logits, for toys of two layers, as tests/wasm/toys_test.cpp derives it.
const double kBound = 2 * std::ldexp(std::sqrt(256.0) * std::sqrt(8.0 * 2 + 2), -24);

double relative_rms(const std::vector<float>& got, const std::vector<float>& expected) {
  double error = 0, all = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += std::pow(static_cast<double>(got[i]) - expected[i], 2);
    all += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(error / all);
}

TEST(WebGpuRuntime, AToysStepIsTheCpusInOneSubmission) {
  check_web_runtime_is_here();
  TempFolder folder;
  convert_checkpoint(toy_file("llama", ""), "q4f16_1", folder.path());
  const Json config = toy_config("llama", "q4f16_1");
  must(write_file(folder.file("mlc-chat-config.json"), json_text(config)));
  CompileOptions options{.opt_level = 0, .targets = must(targets_for_device("webgpu-software"))};
  for (const Target& t : must(targets_for_host("wasm32"))) options.targets.push_back(t);
  options.container = options.targets.back().triple;
  must(write_file(folder.file("model.wasm"),
                  must(compile_model(config, "mlc-chat-config.json", options)).library));

  const std::string tools = path_join(MLC_SOURCE_DIR, ".cache/dawn");
  const Json open = {
      {"folder", "."}, {"library", "model.wasm"}, {"text", false}, {"context_window_size", 64}};
  Json on_cpu = open;
  on_cpu["device"] = "cpu";
  const std::vector<std::vector<int32_t>> steps = {{5, 17, 3, 42, 8}, {7}, {200}};
  Json asked = {{{"dawn", tools}}, {{"start", Json::object()}}, {{"open", open}}};
  for (size_t i = 0; i < steps.size(); ++i) {
    asked.push_back({{"forward", {{"tokens", steps[i]}, {"anew", i == 0}}}});
    asked.push_back({{"gpu_counts", nullptr}});
  }
  asked.push_back({{"open", on_cpu}});
  for (size_t i = 0; i < steps.size(); ++i)
    asked.push_back({{"forward", {{"tokens", steps[i]}, {"anew", i == 0}}}});
  const Json outcomes = run_web_session(folder.path(), asked,
                                        str("VK_ICD_FILENAMES='", tools, "/lvp_icd.json' LD_LIBRARY_PATH='",
                                            tools, "/usr/lib/x86_64-linux-gnu'"));
  EXPECT_EQ(web_value(outcomes[2])["device"], "webgpu");  // auto takes it
  for (size_t i = 0; i < steps.size(); ++i)
    EXPECT_LT(relative_rms(floats_of(web_value(outcomes[3 + 2 * i]).get<std::string>()),
                           floats_of(web_value(outcomes[10 + i]).get<std::string>())),
              kBound)
        << i;
  const Json before = web_value(outcomes[6]), after = web_value(outcomes[8]);
  const auto spent = [&](const char* what) {
    return after[what].get<int64_t>() - before[what].get<int64_t>();
  };
  EXPECT_EQ(spent("submits"), 1);
  EXPECT_EQ(spent("reads"), 1);
  EXPECT_GT(spent("dispatches"), 0);
  for (const char* made : {"buffers", "pipelines", "bindGroups"}) EXPECT_EQ(spent(made), 0) << made;
}

}  // namespace
}  // namespace mlc::testing
