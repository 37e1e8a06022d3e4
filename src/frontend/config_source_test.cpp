// source_config: what mlc-chat-config.json says beside MLC's own fields, there and back.
#include <gtest/gtest.h>

#include <set>

#include "base/strings.h"
#include "frontend/config.h"
#include "frontend/models/registry.h"
#include "support/toys.h"

namespace mlc::frontend {
namespace {

using mlc::testing::toy_file;

Json read(const std::string& toy, const std::string& name) {
  return read_json_file(toy_file(toy, name)).value();
}

// Of the toy's config with these keys.
ModelConfig parsed(const std::string& toy, const char* keys) {
  Json hf = read(toy, "config.json");
  hf.update(parse_json(keys, "test").value());
  return parse_hf_config(hf, "auto", "config.json").value();
}

// mlc-chat-config.json as gen_config writes it, as far as a model is read from it.
Json written(const ModelConfig& config) {
  Json mlc = {{"model_type", config.model_type}, {"model_config", config.fields}};
  if (Json source = source_config(config); !source.empty()) mlc["source_config"] = source;
  return mlc;
}

TEST(SourceConfig, RoundTrip) {
  const char* const cases[] = {
      R"({"rope_scaling": {"type": "linear", "factor": 4.0}})",
      R"({"rope_scaling": {"type": "dynamic", "factor": 3.0}, "max_position_embeddings": 64})",
      R"({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 500.0}})",
      R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                           "original_max_position_embeddings": 8192}})",
      R"({"rope_scaling": {"rope_type": "default"}})",
      R"({"attention_bias": true})",
      R"({"attention_bias": true, "mlp_bias": true})",
      R"({"attention_bias": false})",
  };
  for (const char* keys : cases) {
    ModelConfig config = parsed("llama", keys);
    ASSERT_TRUE(apply_overrides(config, {.context_window_size = 48}).is_ok());
    const ModelConfig again = parse_mlc_config(written(config), "auto", "mlc-chat-config.json").value();
    EXPECT_EQ(again.fields.dump(), config.fields.dump()) << keys;
    EXPECT_EQ(again.source_fields.dump(), config.source_fields.dump()) << keys;
    EXPECT_EQ(rope_spec(again).to_json().dump(), rope_spec(config).to_json().dump()) << keys;
    EXPECT_EQ(join(again.notes, "\n"), "") << keys;
    EXPECT_EQ(written(again).dump(), written(config).dump()) << keys;
  }
}

// Of models of which MLC's file says all, nothing is added: their files stay MLC's to the byte.
TEST(SourceConfig, SaysNothingThatMlcSays) {
  for (const std::string& toy : mlc::testing::toys_with("mlc-configs.json"))
    EXPECT_EQ(source_config(parsed(toy, "{}")).dump(), "{}") << toy;
  EXPECT_EQ(source_config(parsed("llama3_tied", R"({"attention_bias": false, "mlp_bias": null})")).dump(),
            "{}");
  EXPECT_EQ(source_config(parsed("qwen2", R"({"rope_scaling": {"type": "yarn", "factor": 4.0,
                                              "original_max_position_embeddings": 128}})"))
                .dump(),
            R"({"rope_scaling":{"factor":4.0,"original_max_position_embeddings":128,"rope_type":"yarn"}})");
}

TEST(SourceConfig, BadOnes) {
  Json mlc = written(parsed("llama", R"({"attention_bias": true})"));
  auto said = [&](const char* source) {
    mlc["source_config"] = parse_json(source, "test").value();
    const Result<ModelConfig> config = parse_mlc_config(mlc, "auto", "c.json");
    return config.is_ok() ? join(config->notes, "\n") : config.status().message();
  };
  EXPECT_EQ(said("3"),
            "c.json: key 'source_config': found a JSON number, expected an object; is it a model config?");
  EXPECT_EQ(said(R"({"attention_bias": 3})"),
            "c.json: key 'attention_bias' is 3, expected true or false; the config is damaged");
  EXPECT_NE(said(R"({"rope_scaling": {"rope_type": "ntk"}})").find("rope_type 'ntk', expected"),
            std::string::npos);
  EXPECT_EQ(said(R"({"logit_scale": 0.5})"),
            "c.json: source_config has key 'logit_scale' (0.5), which models of type llama do not apply");
  EXPECT_EQ(said(R"({"mlp_bias": true})"), "");
}

TEST(SourceConfig, BiasesOfLlama) {
  auto names = [](const char* keys) {
    std::set<std::string> all;
    const std::string layer = "model.layers.0.";
    for (const Parameter& p :
         build_model(parsed("llama", keys), find_quant_scheme("q0f32").value()).parameters)
      if (p.name.ends_with(".bias") && p.name.starts_with(layer)) all.insert(p.name.substr(layer.size()));
    return join({all.begin(), all.end()}, " ");
  };
  EXPECT_EQ(names("{}"), "");
  EXPECT_EQ(names(R"({"attention_bias": true})"), "self_attn.o_proj.bias self_attn.qkv_proj.bias");
  EXPECT_EQ(names(R"({"mlp_bias": true})"), "mlp.down_proj.bias mlp.gate_up_proj.bias");
}

}  // namespace
}  // namespace mlc::frontend
