// Adapters that cannot be used: one sentence that starts with the flag, and nothing half-written.
#include <gtest/gtest.h>

#include "support/command.h"

namespace mlc {
namespace {

using testing::expect_error;
using testing::run_mlc_llm;

class LoraErrors : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new testing::Workplace;
    checkpoint_ = testing::toy_checkpoint(*shared_);
    folder_ = testing::converted(*shared_, checkpoint_, "q4f16_1", "q4");
  }
  static void TearDownTestSuite() { delete shared_; }

  testing::Outcome convert(const std::string& checkpoint, const std::string& adapter) {
    return run_mlc_llm({"convert_weight", checkpoint, "--quantization", "q4f16_1", "--lora-adapter", adapter,
                        "-o", out_ + "/weights"});
  }
  testing::Outcome compile(const std::string& flag, const std::string& value) {
    return run_mlc_llm({"compile", folder_, "-o", out_ + "/a.so", flag, value});
  }

  static inline testing::Workplace* shared_ = nullptr;
  static inline std::string checkpoint_, folder_;
  testing::Workplace place_;
  std::string out_ = place_.make_folder("out");
  const std::string plain_ = std::string(MLC_SOURCE_DIR) + "/tests/data/models/llama_lora/plain";
};

TEST_F(LoraErrors, FoldersThatAreNoAdapters) {
  expect_error(convert(checkpoint_, place_.path("nowhere")),
               {"--lora-adapter: ", "it has no adapter_config.json"});
  const std::string empty = place_.make_folder("empty");
  place_.write("empty/adapter_config.json", R"({"r": 1, "lora_alpha": 2})");
  expect_error(convert(checkpoint_, empty), {"--lora-adapter: ", "it has no adapter_model.safetensors"});
  place_.write("empty/adapter_config.json", R"({"r": 1, "lora_alpha": 2, "use_dora": true})");
  expect_error(convert(checkpoint_, empty), {"--lora-adapter: ", "DoRA adapters are not supported"});
  EXPECT_EQ(place_.list("out"), std::vector<std::string>{});
}

TEST_F(LoraErrors, AdaptersOfAnotherBase) {
  const std::string other = testing::toy_checkpoint(place_, "neox", "gpt_neox");
  expect_error(convert(other, plain_),
               {"--lora-adapter: ", "model.layers.0.self_attn", "made for 'toys/llama'"});
  EXPECT_EQ(place_.list("out"), std::vector<std::string>{});
}

TEST_F(LoraErrors, LibrariesHoldAdaptersOfARank) {
  expect_error(compile("--lora-rank", "8"), {"--lora-rank: ", "add --lora-adapters"});
  expect_error(compile("--lora-adapters", "2"), {"--lora-adapters: ", "add --lora-rank"});
  EXPECT_EQ(place_.list("out"), std::vector<std::string>{});
  const std::string library = testing::compiled(place_, folder_, "plain.so");
  expect_error(run_mlc_llm({"chat", folder_, "--model-lib", library, "--lora-adapter", plain_}),
               {"--lora-adapter: ", library, "compile the model again with --lora-adapters"});
}

}  // namespace
}  // namespace mlc
