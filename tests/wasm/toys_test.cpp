// Toys compiled as .wasm, whose kernels run in Node: their logits are those of the same kernels' meaning at
// O0, and those of this machine's CPU at O2.
#include <gtest/gtest.h>

#include <cmath>

#include "base/target/wasm.h"
#include "support/compiled_model.h"
#include "support/npy.h"
#include "support/reference_model.h"
#include "support/wasm_device.h"

namespace mlc::testing {
namespace {

// As tests/models/compiled_test.cpp derives them, of codes for toys of two layers.
double float_bound(int64_t layers) {
  return 2 * std::ldexp(std::sqrt(256.0) * std::sqrt(8.0 * static_cast<double>(layers) + 2), -24);
}
const double kCodeBound =
    std::sqrt(2 * 127 * float_bound(2)) * std::sqrt(32.0) / 127 * std::sqrt(8.0 * 2 + 1);

class WasmToys : public ::testing::Test {
 protected:
  LoadedModel load(const std::string& toy, int opt_level, bool behind_webgpu) {
    std::vector<Target> targets =
        behind_webgpu ? targets_for_device("webgpu-software").value() : std::vector<Target>{};
    for (const Target& t : wasm_targets()) targets.push_back(t);
    CompileOptions options{.opt_level = opt_level, .targets = targets, .container = wasm_targets()[0].triple};
    const std::string path = folder.file(toy + ".wasm");
    must(write_file(path, must(compile_model(toy_config(toy, kScheme), toy, options)).library));
    return WasmDevice::load(path, weights(toy), kLimits);
  }
  LoadedModel load_natively(const std::string& toy, int opt_level) {
    const std::string path = folder.file(toy + ".so");
    compile_to(path, toy_config(toy, kScheme), opt_level, targets_for_host("x86_64-generic").value());
    return LoadedModel::load(must(runtime::open_device("cpu", {})), path, weights(toy), kLimits);
  }
  std::string weights(const std::string& toy) {
    const std::string path = folder.file(toy);
    if (!is_directory(path)) convert_checkpoint(toy_file(toy, ""), kScheme, path);
    return path;
  }
  // A prompt of 7 tokens, then one by one: the logits of each step's last row.
  static std::vector<std::vector<float>> logits(const LoadedModel& m, const std::vector<int32_t>& tokens) {
    std::vector<std::vector<float>> all;
    must(m->sequences().add(1));
    for (size_t at = 0, n = 7; at < tokens.size(); at += n, n = 1)
      all.push_back(m.step({{1, std::span(tokens).subspan(at, n)}}, runtime::WantLogits::kLast));
    return all;
  }
  static std::vector<int32_t> tokens_of(const std::string& toy) {
    std::vector<int32_t> all = read_npy(toy_file(toy, "tokens.npy")).ints;
    return {all.begin(), all.begin() + 16};
  }

  static constexpr const char* kScheme = "q4f16_1";
  static constexpr runtime::ModelLimits kLimits{
      .max_sequences = 2, .context_tokens = 64, .total_tokens = 64, .prefill_chunk = 16, .shuffle_pages = 5};
  TempFolder folder;
};

TEST_F(WasmToys, LogitsAreTheInterpretersAtO0) {
  // Dense with windows, latent attention with experts, recurrent.
  for (const std::string toy : {"llama", "gemma2", "deepseek_v2", "rwkv"}) {
    const std::vector<int32_t> tokens = tokens_of(toy);
    ReferenceModel reference(toy_file(toy, ""), kScheme, Storage::kAsStored);
    const std::vector<float> expected = reference.step("decode", {{.tokens = tokens, .pages = {5}}}).floats;
    const double bound = float_bound(frontend::model_shape(reference.config()).layers);
    const size_t vocab = expected.size() / tokens.size();
    const std::vector<std::vector<float>> got = logits(load(toy, 0, /*behind_webgpu=*/false), tokens);
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_LT(relative_rms(got[i].data(), expected.data() + (i + 6) * vocab, vocab), bound)
          << toy << " " << i;
  }
}

TEST_F(WasmToys, CodesBehindWebGpuAreTheNativeOnes) {
  const std::vector<int32_t> tokens = tokens_of("llama");
  const auto got = logits(load("llama", 2, /*behind_webgpu=*/true), tokens),
             expected = logits(load_natively("llama", 2), tokens);
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_LT(relative_rms(got[i].data(), expected[i].data(), got[i].size()), kCodeBound) << i;
}

}  // namespace
}  // namespace mlc::testing
