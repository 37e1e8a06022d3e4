// The toy llama with the adapters of tests/models/make_lora.py, and what its logits must be: merged into the
// weights or chosen row by row.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "support/compiled_model.h"
#include "support/npy.h"

namespace mlc::testing {

inline constexpr int64_t kLoraSlots = 3, kLoraRank = 8;  // of the libraries; `patterns` has a rank of 8

inline std::string lora_folder(const std::string& adapter) { return toy_file("llama_lora", adapter); }

// The logits of numpy's forward with an adapter, "": without any, f32[16, 512].
inline std::vector<float> lora_logits(const std::string& adapter) {
  return read_npy(adapter.empty() ? toy_file("llama", "logits_fp32.npy")
                                  : toy_file("llama_lora", "logits_" + adapter + ".npy"))
      .floats;
}

inline std::vector<int32_t> lora_tokens() { return read_npy(toy_file("llama", "tokens.npy")).ints; }

// Two computations of the toy in float32, as logits_test.cpp bounds them: 2 layers of sums of at most 256
// terms, and as many that adapters add.
inline const double kLoraBound = 2 * std::ldexp(std::sqrt(256.0) * std::sqrt(16.0 * 2 + 2), -24);

inline double lora_error(std::span<const float> got, std::span<const float> expected) {
  double error = 0, size = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    error += std::pow(double{got[i]} - expected[i], 2);
    size += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(error / size);
}

inline std::span<const float> lora_row(const std::vector<float>& logits, size_t row) {
  return std::span(logits).subspan(row * 512, 512);
}

// One batch in which three texts have one adapter each, or none: as prompts with all logits, then row by row.
inline void expect_adapters_in_one_batch(const LoadedModel& m, const std::string& what) {
  const std::vector<int32_t> tokens = lora_tokens();
  const std::string names[] = {"plain", "patterns", ""};
  std::vector<int32_t> slots;
  for (const std::string& name : names)
    slots.push_back(name.empty() ? -1 : must(m->adapters().load(name, lora_folder(name))));
  const size_t prompt = 11;
  std::vector<runtime::StepSequence> step;
  for (size_t s = 0; s < 3; ++s) {
    must(m->sequences().add(static_cast<int64_t>(s)));
    step.push_back(
        {.id = static_cast<int64_t>(s), .tokens = std::span(tokens).first(prompt), .adapter = slots[s]});
  }
  const std::vector<float> all = m.step(step, runtime::WantLogits::kAll);
  for (size_t s = 0; s < 3; ++s)
    for (size_t i = 0; i < prompt; ++i)
      EXPECT_LT(lora_error(lora_row(all, s * prompt + i), lora_row(lora_logits(names[s]), i)), kLoraBound)
          << what << ", prompt, adapter '" << names[s] << "', position " << i;
  for (size_t i = prompt; i < tokens.size(); ++i) {
    for (size_t s = 0; s < 3; ++s) step[s].tokens = std::span(tokens).subspan(i, 1);
    const std::vector<float> next = m.step(step, runtime::WantLogits::kLast);
    for (size_t s = 0; s < 3; ++s)
      EXPECT_LT(lora_error(lora_row(next, s), lora_row(lora_logits(names[s]), i)), kLoraBound)
          << what << ", adapter '" << names[s] << "', position " << i;
  }
  // Alone, in the bodies for one row: a fork goes on from a text that its adapter computed.
  must(m->sequences().fork(1, 7, 12));
  const std::vector<float> alone =
      m.step({{.id = 7, .tokens = std::span(tokens).subspan(12, 1), .adapter = slots[1]}},
             runtime::WantLogits::kLast);
  EXPECT_LT(lora_error(lora_row(alone, 0), lora_row(lora_logits("patterns"), 12)), kLoraBound) << what;
}

}  // namespace mlc::testing
