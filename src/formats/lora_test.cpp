// PEFT folders: what is read, and what is refused.
#include "formats/lora.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "formats/build_files.h"
#include "formats/module_pattern.h"
#include "support/temp_folder.h"

namespace mlc {
namespace {

const std::string kQ = "base_model.model.model.layers.0.self_attn.q_proj";

class LoraFolder : public ::testing::Test {
 protected:
  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;
  };

  // Writes the folder: values count up from 1.
  Result<LoraAdapter> read(const Json& changes = Json::object(),
                           const std::vector<Tensor>& tensors = {{kQ + ".lora_A.weight", {2, 3}},
                                                                 {kQ + ".lora_B.weight", {4, 2}}}) {
    Json config = {{"peft_type", "LORA"}, {"r", 2},
                   {"lora_alpha", 6},     {"bias", "none"},
                   {"use_dora", false},   {"base_model_name_or_path", "some/base"}};
    config.update(changes);
    folder.write("adapter_config.json", json_text(config));
    Json header = Json::object();
    std::vector<float> values;
    for (const Tensor& t : tensors) {
      const auto begin = static_cast<int64_t>(4 * values.size());
      int64_t count = 1;
      for (int64_t d : t.shape) count *= d;
      for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(i + 1));
      header[t.name] = {{"dtype", "F32"}, {"shape", t.shape}, {"data_offsets", {begin, begin + 4 * count}}};
    }
    folder.write("adapter_model.safetensors", testing::safetensors(header.dump(), testing::packed(values)));
    return read_lora_adapter(folder.path());
  }
  void expect_refused(const Result<LoraAdapter>& result, const std::string& part) {
    ASSERT_FALSE(result.is_ok()) << part;
    EXPECT_NE(result.status().message().find(part), std::string::npos) << result.status().message();
    EXPECT_EQ(result.status().message().find(folder.path()), 0u) << result.status().message();
  }

  testing::TempFolder folder;
};

TEST_F(LoraFolder, IsRead) {
  const auto adapter = read();
  ASSERT_TRUE(adapter.is_ok()) << adapter.status().message();
  ASSERT_EQ(adapter->modules.size(), 1u);
  const LoraModule& m = adapter->modules[0];
  EXPECT_EQ(m.name, "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(m.rank, 2);
  EXPECT_EQ(m.in, 3);
  EXPECT_EQ(m.out, 4);
  EXPECT_EQ(m.scale, 3);
  EXPECT_EQ(m.a, (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(m.b, (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(adapter->base, "some/base");
  EXPECT_EQ(adapter->files.size(), 2u);
}

TEST_F(LoraFolder, HasTheScaleOfItsPatterns) {
  EXPECT_EQ(read({{"use_rslora", true}})->modules[0].scale, 6 / std::sqrt(2.0));
  EXPECT_EQ(read({{"alpha_pattern", {{"q_proj", 8}}}})->modules[0].scale, 4);
  EXPECT_EQ(read({{"alpha_pattern", {{"k_proj", 8}}}})->modules[0].scale, 3);
  EXPECT_EQ(read({{"r", 9}, {"rank_pattern", {{"q_proj", 2}}}})->modules[0].scale, 3);
}

TEST_F(LoraFolder, RefusesWhatItDoesNotApply) {
  expect_refused(read({{"use_dora", true}}), "DoRA adapters are not supported");
  expect_refused(read({{"bias", "all"}}), "key 'bias' is 'all', expected none");
  expect_refused(read({{"peft_type", "IA3"}}), "key 'peft_type' is 'IA3', expected LORA");
  expect_refused(read({{"modules_to_save", {"lm_head"}}}), "key 'modules_to_save' is set");
  expect_refused(read({{"layer_replication", {{0, 1}}}}), "key 'layer_replication' is set");
  expect_refused(read({{"init_lora_weights", "pissa_niter_4"}}), "fits a changed base only");
  expect_refused(read({{"r", 4}}), "has matrices of rank 2, the config says 4");
  expect_refused(read({{"rank_pattern", {{"q_proj", -1}}}}), "expected a number above 0");
  expect_refused(read({{"rank_pattern", {{"(?=q)", 2}}}}), "is none that is known");
  expect_refused(read({{"r", "two"}}), "'r'");
  EXPECT_TRUE(read({{"init_lora_weights", "gaussian"}, {"modules_to_save", nullptr}}).is_ok());
}

TEST_F(LoraFolder, RefusesTensorsThatAreNoPairs) {
  const Json none = Json::object();
  expect_refused(read(none, {}), "it has no tensors");
  expect_refused(read(none, {{kQ + ".lora_A.weight", {2, 3}}}), "has no lora_B.weight beside");
  expect_refused(read(none, {{kQ + ".lora_A.weight", {2, 3}}, {kQ + ".lora_B.weight", {4, 3}}}),
                 "expected one rank");
  expect_refused(read(none, {{kQ + ".lora_A.weight", {2, 3, 1, 1}}, {kQ + ".lora_B.weight", {4, 2}}}),
                 "expected a matrix of floats");
  expect_refused(read(none, {{kQ + ".lora_magnitude_vector", {4}}}), "is of a DoRA adapter");
  expect_refused(read(none, {{"base_model.model.model.embed_tokens.lora_embedding_A", {2, 9}}}),
                 "is of an adapter of an embedding");
  expect_refused(read(none, {{"base_model.model.lm_head.weight", {9, 3}}}), "is no matrix lora_A or lora_B");
}

TEST(LoraFolders, ThatAreNone) {
  testing::TempFolder folder;
  EXPECT_NE(read_lora_adapter(folder.path()).status().message().find("it has no adapter_config.json"),
            std::string::npos);
  folder.write("adapter_config.json", R"({"r": 2, "lora_alpha": 4})");
  EXPECT_NE(read_lora_adapter(folder.path()).status().message().find("it has no adapter_model.safetensors"),
            std::string::npos);
}

TEST(ModulePattern, MatchesAsPeftDoes) {
  const std::string module = "model.layers.12.self_attn.q_proj";
  auto matches = [&](const std::string& pattern) {
    auto result = matches_module(pattern, module, "here");
    return result.is_ok() && *result;
  };
  for (const char* pattern :
       {"q_proj", "self_attn.q_proj", "model.layers.12.self_attn.q_proj",
        "^model.layers.12.self_attn.q_proj$", ".*q_proj", R"(layers\.\d+\.self_attn\.[qk]_proj)",
        "(k|q|v)_proj", "layers.1[0-2].(self_attn|mlp).q_proj", R"(model\.layers\.(?:3|12)\..*)", "q_?proj",
        "(self_)*attn.q_proj", "[^k]_proj", R"(\w+)"})
    EXPECT_TRUE(matches(pattern)) << pattern;
  for (const char* pattern : {"proj", "k_proj", "^q_proj", "layers.1.self_attn.q_proj", "q_proj.",
                              "[^q]_proj", "(k|v)_proj", R"(layers\.\d\.self_attn\.q_proj)", "self_attn"})
    EXPECT_FALSE(matches(pattern)) << pattern;
}

TEST(ModulePattern, RefusesOtherFormsAndEndlessWork) {
  for (const char* pattern :
       {"", "(", "a)", "*a", "a**", "[", "[]", "a{2}", R"(\b)", "(?=a)", "a\\", "a^b", "((((a)"})
    EXPECT_FALSE(matches_module(pattern, "a", "here").is_ok()) << pattern;
  const auto endless = matches_module("((a*)*)*b", std::string(60, 'a'), "here");
  ASSERT_FALSE(endless.is_ok());
  EXPECT_NE(endless.status().message().find("takes too long to match"), std::string::npos);
}

TEST(SameModule, KnowsWrappers) {
  EXPECT_TRUE(same_module("h.0.mlp", "transformer.h.0.mlp"));
  EXPECT_TRUE(same_module("transformer.h.0.mlp", "h.0.mlp"));
  EXPECT_TRUE(same_module("h.0.mlp", "h.0.mlp"));
  EXPECT_FALSE(same_module("h.0.mlp", "h.10.mlp"));
  EXPECT_FALSE(same_module("0.mlp", "10.mlp"));
}

}  // namespace
}  // namespace mlc
