// DeepSeek-V2: what is cached, what is chosen from, and configs that make no sense.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "base/user_error.h"
#include "frontend/config.h"
#include "frontend/model.h"
#include "support/toys.h"

namespace mlc::frontend {
namespace {

Result<ModelConfig> parsed(const std::string& toy, const char* keys) {
  Json hf = read_json_file(mlc::testing::toy_file(toy, "config.json")).value();
  hf.update(parse_json(keys, "test").value());
  return parse_hf_config(hf, "auto", "c.json");
}

BuiltModel build(const std::string& toy, const char* keys, DType kv_dtype) {
  return build_model(parsed(toy, keys).value(), find_quant_scheme("q4f16_1").value(), {.kv_dtype = kv_dtype});
}

// A token has its latent and the rotated part, once for all heads; codes are no form of it.
TEST(DeepseekV2, CachesLatents) {
  for (const auto& [toy, rank] : {std::pair("deepseek_v2", 24), {"deepseek_v2_lite", 32}})
    for (DType dtype : {DType::kF32, DType::kF16, DType::kI8}) {
      const graph::PagedState cache = build(toy, "{}", dtype).module->states.at(0);
      EXPECT_TRUE(cache.latent);
      EXPECT_EQ(cache.value_dim, rank);
      EXPECT_EQ(cache.dtype, dtype == DType::kI8 ? DType::kF16 : dtype);
      EXPECT_EQ(cache.page_elements(), cache.page_size * (rank + 8));
    }
}

TEST(DeepseekV2, ChoosesExpertsAsTheConfigSays) {
  auto route = [](const char* keys) {
    const BuiltModel built = build("deepseek_v2", keys, DType::kF32);
    int found = 0;
    graph::Node route;
    for (const auto& node : built.module->find_function("decode")->nodes)
      if (node->op == "route") route.attributes = node->attributes, ++found;
    EXPECT_EQ(found, 2);  // of three layers the first is dense
    std::vector<std::string> text;
    for (const auto& [name, value] : route.attributes)
      text.push_back(str(name, "=",
                         std::holds_alternative<double>(value) ? std::get<double>(value)
                         : std::holds_alternative<bool>(value) ? static_cast<double>(std::get<bool>(value))
                                                               : double(std::get<int64_t>(value))));
    return join(text, " ");
  };
  EXPECT_EQ(route("{}"), "groups=4 k=3 kept_groups=2 renormalize=0 scale=1.5");
  EXPECT_EQ(route(R"({"topk_method": "greedy"})"), "k=3 renormalize=0 scale=1.5");
  EXPECT_EQ(route(R"({"norm_topk_prob": true})"), "groups=4 k=3 kept_groups=2 renormalize=1");
  EXPECT_EQ(route(R"({"norm_topk_prob": true, "num_experts_per_tok": 1})"),
            "groups=4 k=1 kept_groups=2 renormalize=0 scale=1.5");
}

TEST(DeepseekV2, BadConfigs) {
  auto said = [](const char* keys) -> std::string {
    Result<ModelConfig> config = parsed("deepseek_v2", keys);
    if (!config.is_ok()) return config.status().message();
    try {
      build_model(*config, find_quant_scheme("q0f32").value());
    } catch (const UserError& e) {
      return e.what();
    }
    return join(config->notes, "\n");
  };
  EXPECT_EQ(said("{}"), "");
  EXPECT_EQ(
      said(R"({"topk_method": "noaux_tc"})"),
      "c.json: key 'topk_method' is \"noaux_tc\", expected greedy or group_limited_greedy; this variant of "
      "the model is not built");
  EXPECT_EQ(
      said(R"({"scoring_func": "sigmoid"})"),
      "c.json: key 'scoring_func' is \"sigmoid\", expected softmax; this variant of the model is not built");
  EXPECT_EQ(said(R"({"n_group": 3})"),
            "n_group is 3, expected a divisor of the 8 experts of the model; the config is damaged");
  EXPECT_EQ(said(R"({"n_group": null})"),
            "n_group is 0, expected a divisor of the 8 experts of the model; the config is damaged");
  EXPECT_EQ(said(R"({"topk_group": 5})"),
            "topk_group is 5, expected 1 to the 4 groups of n_group; the config is damaged");
  EXPECT_EQ(said(R"({"topk_group": 1})"),
            "num_experts_per_tok is 3, expected 1 to the 2 experts of 1 groups; the config is damaged");
  EXPECT_NE(said(R"({"rope_scaling": {"type": "ntk", "factor": 2}})").find("rope_type 'ntk', expected"),
            std::string::npos);
  EXPECT_EQ(
      said(R"({"q_lora_rank": "40"})"),
      "c.json: key 'q_lora_rank' is \"40\", expected an integer from 1 to 16777216; the config is damaged");
  EXPECT_EQ(said(R"({"qk_rope_head_dim": 7})"),
            "c.json: 7 elements of each head of 7 would be rotated, expected an even number from 2 to "
            "head_dim; the "
            "config is damaged");
  EXPECT_NE(said(R"({"qk_nope_head_dim": 15})").find("qk_nope_head_dim is 15, expected an even number"),
            std::string::npos);
  EXPECT_NE(said(R"({"attention_bias": true})").find("'attention_bias' is true, expected false"),
            std::string::npos);
}

TEST(DeepseekV2, HasNoRollingWindow) {
  const ModelConfig config = parsed("deepseek_v2", "{}").value();
  Json mlc = {{"model_type", "deepseek_v2"},
              {"model_config", config.fields},
              {"source_config", source_config(config)}};
  mlc["model_config"]["context_window_size"] = 64, mlc["sliding_window_size"] = 16;
  EXPECT_EQ(parse_mlc_config(mlc, "auto", "c.json").status().message(),
            "c.json: sliding_window_size is 16, but models of type deepseek_v2 cache latents, which cannot "
            "be rotated "
            "anew when tokens before them are dropped; leave it out");
}

}  // namespace
}  // namespace mlc::frontend
