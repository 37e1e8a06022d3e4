// Every kernel of a toy of each shape class, in each variant for Metal, is text that clang accepts.
#include <gtest/gtest.h>

#include "simulate/metal_device.h"
#include "support/compiled_model.h"

namespace mlc::testing {
namespace {

class MetalKernels : public ::testing::TestWithParam<std::string> {};

TEST_P(MetalKernels, AreAccepted) {
  register_metal_simulator(MLC_SOURCE_DIR "/src/simulate/metal");
  const runtime::DevicePtr device = must(runtime::open_device("metal"));
  for (const Target& target : must(targets_for_device("metal"))) {
    TempFolder folder;
    compile_to(folder.file("model.so"), toy_config(GetParam(), "q4f16_1"), 2, {target});
    const auto module = runtime::Module::load(*device, folder.file("model.so"));
    ASSERT_TRUE(module.is_ok()) << module.status().message();
    EXPECT_EQ((*module)->variant(), target.name);
  }
}

INSTANTIATE_TEST_SUITE_P(Toys, MetalKernels,
                         ::testing::Values("deepseek_v2", "gemma3_text", "gpt_oss", "llama", "qwen2_moe",
                                           "rwkv5"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mlc::testing
