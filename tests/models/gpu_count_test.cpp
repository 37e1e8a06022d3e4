// How many kernels a decode step runs on a GPU, and what they move, counted from the plan of every toy.
#include <gtest/gtest.h>

#include "count_model.h"
#include "support/compiled_model.h"
#include "support/toys.h"

namespace mlc::testing {
namespace {

std::vector<CountedStep> steps_of(const std::string& toy, const std::string& device, int64_t layers) {
  Json config = toy_config(toy, "q4f16_1");
  if (layers) config["model_config"]["num_hidden_layers"] = layers;
  Target target = targets_for_device(device)->front();
  Result<std::vector<CountedStep>> steps = count_model(config, toy, target, 20, 40, 2);
  EXPECT_TRUE(steps.is_ok()) << steps.status().message();
  return steps.is_ok() ? *steps : std::vector<CountedStep>(2);
}

// Norm, qkv, rotation with append, attention, output, norm, gate and up, down; one more where a row's attention is split and
// joined. gpt_neox norms twice, for attention and for its MLP beside it, before it adds both.
TEST(GpuSteps, ALayerIsAtMostEightKernels) {
  for (const std::string& toy : kToys) {
    if (toy == "llama_odd") continue;  // OddHeadsAreRefused
    for (const char* device : {"vulkan-nvidia", "vulkan-software"}) {
      auto two = steps_of(toy, device, 2), three = steps_of(toy, device, 3);
      bool split = targets_for_device(device)->front().attention_part_pages > 0;
      for (size_t i : {0, 1}) {
        int64_t layer = three[i].dispatches - two[i].dispatches;
        int64_t joins = split && two[i].rows == 1, norms = toy == "gpt_neox";
        EXPECT_LE(layer, 8 + joins + norms) << toy << " " << two[i].function << " on " << device;
        EXPECT_GE(layer, 5) << toy;
      }
    }
  }
}

// Keys lie in chunks of 8 elements.
TEST(GpuSteps, OddHeadsAreRefused) {
  Result<std::vector<CountedStep>> steps =
      count_model(toy_config("llama_odd", "q4f16_1"), "llama_odd", targets_for_device("vulkan-nvidia")->front(), 20, 40, 2);
  ASSERT_FALSE(steps.is_ok());
  EXPECT_EQ(steps.status().message(),
            "rope_append: heads of 20 elements have no kernel on vulkan-nvidia, expected a multiple of 8");
}

TEST(GpuSteps, TheTableNamesEveryKernel) {
  auto steps = steps_of("llama", "vulkan-nvidia", 0);
  std::string table = count_table(steps);
  for (const CountedStep& s : steps) {
    EXPECT_NE(table.find(s.function), std::string::npos);
    for (const CountedKernel& k : s.kernels) {
      EXPECT_NE(table.find(k.count.name), std::string::npos);
      EXPECT_EQ(k.count.conflicts(), 0) << k.count.name;
      EXPECT_GT(k.count.moved(), 0) << k.count.name;
    }
  }
}

}  // namespace
}  // namespace mlc::testing
