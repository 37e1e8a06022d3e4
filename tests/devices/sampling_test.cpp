// Tokens drawn on GPU devices against the host's draws from the same logits, and requests that mix both.
// Skipped where there is no GPU device, not even a software one.
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "serve/engine.h"
#include "support/compiled_model.h"
#include "support/gpu_devices.h"

namespace mlc::testing {
namespace {

using runtime::WantLogits;

class Sampling : public ::testing::Test {
 protected:
  void SetUp() override { convert_checkpoint(toy_file("llama", ""), "q4f16_1", folder.path()); }
  LoadedModel load(const GpuTarget& gpu) const {
    compile_to(folder.file("model.so"), toy_config("llama", "q4f16_1"), 2, {gpu.target});
    return LoadedModel::load(
        must(runtime::open_device(gpu.device)), folder.file("model.so"), folder.path(),
        {.max_sequences = 3, .context_tokens = 160, .total_tokens = 512, .prefill_chunk = 32});
  }
  TempFolder folder;
};

// The device's f32 probabilities are off by some 2^-22, which moves the borders between tokens: what it draws
// is what the host draws for a random number that is off by as much.
bool agrees(std::vector<float> logits, const DrawSettings& s, int32_t token) {
  constexpr float kBorder = 1e-5f;
  softmax(logits, s.inverse_temperature);
  for (float off : {0.0f, -kBorder, kBorder})
    if (draw(logits, s.top_p, std::clamp(s.uniform + off, 0.0f, 1.0f)) == token) return true;
  return false;
}

TEST_F(Sampling, DrawsWhatTheHostDraws) {
  constexpr float kTops[] = {0, 0.1f, 0.6f, 0.95f, 1}, kInverse[] = {0, 0.2f, 1, 3};
  for (const GpuTarget& gpu : best_gpu_targets()) {
    SCOPED_TRACE(gpu.target.name);
    const LoadedModel m = load(gpu);
    ASSERT_TRUE(m->samples());
    std::mt19937 random(8);
    std::vector<int32_t> last(3, 5);
    for (runtime::SequenceId id : {0, 1, 2}) must(m->sequences().add(id));
    for (size_t i = 0; i < 140; ++i) {
      std::vector<runtime::StepSequence> step;
      std::vector<DrawSettings> settings;
      for (size_t s = 0; s < 3; ++s) {
        step.push_back({static_cast<int64_t>(s), std::span(last).subspan(s, 1)});
        settings.push_back(
            {kInverse[(i + s) % 4], kTops[(2 * i + s) % 5], static_cast<float>(random() % 10007) / 10007});
        if (settings[s].inverse_temperature == 0) settings[s].top_p = 0;
      }
      const std::vector<float> logits = m.step(step, WantLogits::kLast);
      for (runtime::SequenceId id : {0, 1, 2}) must(m->sequences().rewind(id, m->sequences().length(id) - 1));
      const std::span<const int32_t> tokens = must(m->step_and_sample(step, settings));
      const size_t vocab = logits.size() / 3;
      for (size_t s = 0; s < 3; ++s) {
        const std::span<const float> row = std::span(logits).subspan(s * vocab, vocab);
        EXPECT_TRUE(agrees({row.begin(), row.end()}, settings[s], tokens[s]))
            << "step " << i << ": token " << tokens[s] << ", temperature 1/"
            << settings[s].inverse_temperature << ", top_p " << settings[s].top_p << ", random number "
            << settings[s].uniform;
        last[s] = tokens[s];
      }
    }
  }
}

// A request whose bias of 0 is added on the host gets the same tokens as its twin whose tokens the device
// draws, together or alone.
TEST_F(Sampling, RequestsMix) {
  auto tokenizer =
      must(Tokenizer::load(std::string(MLC_SOURCE_DIR) + "/tests/data/weights/tokenizers/llama"));
  for (const GpuTarget& gpu : best_gpu_targets()) {
    SCOPED_TRACE(gpu.target.name);
    const LoadedModel m = load(gpu);
    std::map<int64_t, std::vector<int32_t>> tokens;
    auto ask = [&](serve::Engine& engine, int64_t id, double temperature, bool on_host) {
      serve::GenerationConfig config;
      config.temperature = temperature;
      config.top_p = 0.9;
      config.seed = 42;
      config.max_tokens = 12;
      config.ignore_eos = true;
      if (on_host) config.logit_bias = {{7, 0.0}};
      tokens[id].clear();
      must(engine.add_request({id, {4, 8, 15, 16, 23, 42}, config, [&](const serve::StreamUpdate& u) {
                                 if (u.token >= 0) tokens[u.id].push_back(u.token);
                                 EXPECT_EQ(u.error, "");
                               }}));
    };
    for (double temperature : {0.0, 0.8}) {
      serve::Engine engine(*m.model, tokenizer, serve::EngineOptions{.max_running = 3});
      ask(engine, 1, temperature, false);
      while (engine.step()) {
      }
      const std::vector<int32_t> alone = tokens[1];
      EXPECT_EQ(alone.size(), 12u);
      ask(engine, 1, temperature, false);
      ask(engine, 2, temperature, true);
      while (engine.step()) {
      }
      EXPECT_EQ(tokens[1], alone) << temperature;
      EXPECT_EQ(tokens[2], alone) << temperature;
      engine.reset();
    }
  }
}

}  // namespace
}  // namespace mlc::testing
