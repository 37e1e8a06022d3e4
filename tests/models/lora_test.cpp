// LoRA adapters of the toy llama: merged by the conversion, and chosen row by row at run time, against a
// forward that was written for them (make_lora.py).
#include <gtest/gtest.h>

#include "base/target/target.h"
#include "support/interpreted_library.h"
#include "support/lora_model.h"
#include "support/native_kernels.h"
#include "support/poisoned_device.h"

namespace mlc::testing {
namespace {

using runtime::ModelLimits;
using runtime::WantLogits;

ModelLimits limits(bool deterministic = false) {
  return {.max_sequences = 4,
          .context_tokens = 64,
          .total_tokens = 256,
          .prefill_chunk = 48,
          .shuffle_pages = 5,
          .deterministic = deterministic};
}

class Lora : public ::testing::Test {
 protected:
  std::string weights(const std::string& scheme, const std::string& adapter = "") {
    const std::string path = folder.file(str("weights-", scheme, "-", adapter));
    if (!is_directory(path))
      convert_checkpoint(toy_file("llama", ""), scheme, path, /*raw_f32=*/true,
                         adapter.empty() ? "" : lora_folder(adapter));
    return path;
  }
  std::string library(const std::string& scheme, int opt_level, int64_t slots) {
    const std::string path = folder.file(str(scheme, "-O", opt_level, "-", slots, ".so"));
    if (!file_exists(path))
      compile_to(path, toy_config("llama", scheme), opt_level, {runnable_targets().front()}, false, slots,
                 slots ? kLoraRank : 0);
    return path;
  }
  LoadedModel load(const std::string& scheme, int opt_level, int64_t slots, const std::string& merged = "",
                   bool deterministic = false) {
    LoadedModel m = LoadedModel::load(must(PoisonedDevice::open(2)), library(scheme, opt_level, slots),
                                      weights(scheme, merged), limits(deterministic));
    PoisonedDevice::arena_is_allocated(*m.device);
    return m;
  }
  static std::vector<float> all_logits(const LoadedModel& m, int64_t sequence, int32_t adapter = -1) {
    must(m->sequences().add(sequence));
    const std::vector<int32_t> tokens = lora_tokens();
    return m.step({{.id = sequence, .tokens = tokens, .adapter = adapter}}, WantLogits::kAll);
  }

  TempFolder folder;
};

TEST_F(Lora, MergedWeightsHaveTheAdaptersLogits) {
  for (const std::string adapter : {"plain", "patterns"}) {
    const LoadedModel m = load("q0f32", 0, 0, adapter);
    EXPECT_LT(lora_error(all_logits(m, 1), lora_logits(adapter)), kLoraBound) << adapter;
  }
}

TEST_F(Lora, ManyAdaptersInOneBatch) { expect_adapters_in_one_batch(load("q0f32", 0, kLoraSlots), "cpu"); }

TEST_F(Lora, OnTheInterpreter) {
  register_interpreter_device();
  CompileOptions options;
  options.opt_level = 0;
  options.targets = {runnable_targets().front()};
  options.lora_adapters = kLoraSlots, options.lora_rank = kLoraRank;
  const auto built = interpreted(toy_config("llama", "q0f32"), options);
  LoadedModel m;
  m.device = must(runtime::open_device("interpreter"));
  m.module = must(runtime::Module::wrap(*m.device, **built, "toy"));
  m.model = must(runtime::Model::load(*m.device, m.module, weights("q0f32"), limits()));
  expect_adapters_in_one_batch(m, "interpreter");
}

// Rows do not see each other's adapters, nor whether the library holds any: equal bits where the bodies are.
TEST_F(Lora, RowsHaveTheBitsOfTheirLoneRuns) {
  for (const auto& [scheme, opt_level] : {std::pair("q0f32", 0), {"q4f16_1", 0}, {"q4f16_1", 2}}) {
    const LoadedModel m = load(scheme, opt_level, kLoraSlots, "", /*deterministic=*/true);
    const int32_t plain = must(m->adapters().load("plain", lora_folder("plain")));
    const int32_t patterns = must(m->adapters().load("patterns", lora_folder("patterns")));
    std::vector<std::vector<float>> alone;
    for (int32_t adapter : {plain, patterns, -1}) alone.push_back(all_logits(m, 10 + adapter, adapter));
    for (int64_t s = 0; s < 3; ++s) must(m->sequences().add(20 + s));
    const std::vector<int32_t> tokens = lora_tokens();
    const std::vector<float> together = m.step({{.id = 20, .tokens = tokens, .adapter = plain},
                                                {.id = 21, .tokens = tokens, .adapter = patterns},
                                                {.id = 22, .tokens = tokens, .adapter = -1}},
                                               WantLogits::kAll);
    std::vector<float> joined;
    for (const auto& part : alone) joined.insert(joined.end(), part.begin(), part.end());
    EXPECT_EQ(together == joined, true) << scheme << " O" << opt_level;
    const LoadedModel none = load(scheme, opt_level, 0, "", /*deterministic=*/true);
    EXPECT_EQ(all_logits(none, 1) == alone[2], true) << scheme << " O" << opt_level;
    EXPECT_GT(lora_error(alone[0], alone[2]), 0.1) << "the adapter changes nothing";
  }
}

// int8 activations move logits far less than the adapter does.
TEST_F(Lora, QuantizedWeightsAndActivations) {
  std::vector<std::vector<float>> with;
  std::vector<float> without;
  for (int opt_level : {0, 2}) {
    const LoadedModel m = load("q4f16_1", opt_level, kLoraSlots);
    const int32_t slot = must(m->adapters().load("a", lora_folder("patterns")));
    with.push_back(all_logits(m, 1, slot));
    without = all_logits(m, 2);
  }
  EXPECT_LT(lora_error(with[1], with[0]), 0.1 * lora_error(without, with[0]));
}

TEST_F(Lora, ASlotIsFreeOnceUnloaded) {
  const LoadedModel m = load("q0f32", 0, 1);
  EXPECT_EQ(must(m->adapters().load("a", lora_folder("patterns"))), 0);
  const std::vector<float> first = all_logits(m, 1, 0);
  const auto full = m->adapters().load("b", lora_folder("plain"));
  ASSERT_FALSE(full.is_ok());
  EXPECT_NE(full.status().message().find("holds 1 at once and there are: a; unload one"), std::string::npos)
      << full.status().message();
  must(m->adapters().unload("a"));
  EXPECT_EQ(m->adapters().find("a"), -1);
  EXPECT_EQ(must(m->adapters().load("b", lora_folder("plain"))), 0);
  EXPECT_LT(lora_error(all_logits(m, 2, 0), lora_logits("plain")), kLoraBound) << "something of a is left";
  EXPECT_EQ(m->adapters().names(), std::vector<std::string>{"b"});
}

TEST_F(Lora, WhatDoesNotFitIsRefusedInOneSentence) {
  const LoadedModel m = load("q0f32", 0, kLoraSlots);
  auto refused = [&](const std::string& name, const std::string& path) {
    auto result = m->adapters().load(name, path);
    return result.is_ok() ? "nothing" : result.status().message();
  };
  auto expect = [](const std::string& message, const std::string& part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
  };
  expect(refused("", lora_folder("plain")), "adapter: its name is empty");
  expect(refused("a", folder.file("nowhere")), "no adapter: it has no adapter_config.json");
  EXPECT_TRUE(m->adapters().names().empty());
  must(m->adapters().load("a", lora_folder("plain")));
  expect(refused("a", lora_folder("plain")), "adapter: 'a' is loaded already");
  expect(m->adapters().unload("b").message(), "adapter: 'b' is not loaded; there are: a");
  const LoadedModel none = load("q0f32", 0, 0);
  auto result = none->adapters().load("a", lora_folder("plain"));
  ASSERT_FALSE(result.is_ok());
  expect(result.status().message(), "was compiled for none; compile the model again with --lora-adapters");
  compile_to(folder.file("small.so"), toy_config("llama", "q0f32"), 0, {runnable_targets().front()}, false, 1,
             4);
  const LoadedModel small =
      LoadedModel::load(must(PoisonedDevice::open(2)), folder.file("small.so"), weights("q0f32"), limits());
  result = small->adapters().load("a", lora_folder("patterns"));
  ASSERT_FALSE(result.is_ok());
  expect(result.status().message(), "the adapter has rank 8");
  compile_to(folder.file("other.so"), toy_config("mistral", "q0f32"), 0, {runnable_targets().front()}, false,
             1, 8);
  convert_checkpoint(toy_file("mistral", ""), "q0f32", folder.file("other"));
  const LoadedModel other = LoadedModel::load(must(PoisonedDevice::open(2)), folder.file("other.so"),
                                              folder.file("other"), limits());
  result = other->adapters().load("a", lora_folder("plain"));
  ASSERT_FALSE(result.is_ok());
  expect(result.status().message(), "it was made for 'toys/llama'");
}

// Nothing of a library without adapters knows of them, and the memory plan counts those of one with them.
TEST_F(Lora, MemoryIsPlanned) {
  const LoadedModel with = load("q0f32", 0, kLoraSlots), without = load("q0f32", 0, 0);
  // Of a layer: qkv 96 x 192 (3 parts), o 96 x 96, gate and up 96 x 400 (2 parts), down 200 x 96.
  const int64_t elements = 2 * kLoraSlots * kLoraRank * (3 * 96 + 192 + 96 + 96 + 2 * 96 + 400 + 200 + 96);
  EXPECT_EQ(with->memory().weights - without->memory().weights, 4 * elements);
  EXPECT_EQ(without.module->manifest().contains("lora"), false);
  EXPECT_EQ(with.module->manifest()["params"], without.module->manifest()["params"]);
}

}  // namespace
}  // namespace mlc::testing
