// source_config: what mlc-chat-config.json says beside MLC's own fields, there and back.
#include <gtest/gtest.h>

#include <cmath>
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
  struct {
    const char *toy, *keys;
  } const cases[] = {
      {"llama", R"({"rope_scaling": {"type": "linear", "factor": 4.0}})"},
      {"llama", R"({"rope_scaling": {"type": "dynamic", "factor": 3.0}, "max_position_embeddings": 64})"},
      {"llama", R"({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 500.0}})"},
      {"llama", R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                     "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})"},
      {"llama", R"({"rope_scaling": {"rope_type": "default"}})"},
      {"deepseek_v2", "{}"},
      {"deepseek_v2", R"({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale_all_dim": 1.0}})"},
      {"deepseek_v2_lite", R"({"rope_scaling": null})"},
      {"llama", R"({"attention_bias": true})"},
      {"llama", R"({"attention_bias": true, "mlp_bias": true})"},
      {"llama", R"({"attention_bias": false})"},
      {"gpt_neox", R"({"rope_scaling": {"type": "linear", "factor": 4.0}})"},
      {"phi3", "{}"},
      {"phi3_longrope", "{}"},
      {"phi3_longrope", R"({"sliding_window": null, "rope_scaling": {"type": "linear", "factor": 4.0}})"},
      {"qwen3", R"({"attention_bias": true, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}})"},
      {"smollm3", "{}"},
      {"smollm3", R"({"no_rope_layers": null, "no_rope_layer_interval": 3, "attention_bias": true})"},
      {"starcoder2", "{}"},
  };
  for (const auto& [toy, keys] : cases) {
    ModelConfig config = parsed(toy, keys);
    ASSERT_TRUE(apply_overrides(config, {.context_window_size = 48}).is_ok());
    const ModelConfig again = parse_mlc_config(written(config), "auto", "mlc-chat-config.json").value();
    EXPECT_EQ(again.fields.dump(), config.fields.dump()) << toy << keys;
    EXPECT_EQ(again.source_fields.dump(), config.source_fields.dump()) << toy << keys;
    EXPECT_EQ(rope_spec(again).to_json().dump(), rope_spec(config).to_json().dump()) << toy << keys;
    EXPECT_EQ(join(again.notes, "\n"), "") << toy << keys;
    EXPECT_EQ(written(again).dump(), written(config).dump()) << toy << keys;
  }
}

// A folder of MLC's lacks what every checkpoint of the family states: its model computes otherwise.
TEST(SourceConfig, FoldersOfMlcGetANote) {
  Json mlc = written(parsed("starcoder2", "{}"));
  EXPECT_EQ(mlc["source_config"].dump(), R"({"sliding_window":8})");
  mlc.erase("source_config");
  const ModelConfig config = parse_mlc_config(mlc, "auto", "c.json").value();
  EXPECT_EQ(config.get_int("sliding_window"), 0);
  EXPECT_EQ(join(config.notes, "\n"),
            "c.json: no 'source_config' states 'sliding_window', so the model computes as MLC's does, which "
            "differs "
            "from transformers; convert the checkpoint again to mend it");
}

// MLC's class keeps DeepSeek's scaling as it stands, and of it its models take the scale of scores alone.
TEST(SourceConfig, ScalingThatMlcKeeps) {
  Json mlc = written(parsed("deepseek_v2", "{}"));
  EXPECT_EQ(mlc["model_config"]["rope_scaling"].dump(),
            read("deepseek_v2", "config.json")["rope_scaling"].dump());
  auto scale_of = [](const ModelConfig& config) {
    const BuiltModel built = build_model(config, find_quant_scheme("q0f32").value());
    for (const auto& node : built.module->find_function("decode")->nodes)
      if (node->op == "attention") return node->get_double("scale");
    return 0.0;
  };
  const double spread = 0.1 * 0.707 * std::log(4.0) + 1, scale = spread * spread / std::sqrt(24.0);
  const ModelConfig ours = parse_mlc_config(mlc, "auto", "c.json").value();
  EXPECT_EQ(rope_spec(ours).kind, "yarn");
  EXPECT_DOUBLE_EQ(scale_of(ours), scale);
  mlc.erase("source_config");
  const ModelConfig config = parse_mlc_config(mlc, "auto", "c.json").value();
  EXPECT_EQ(rope_spec(config).kind, "default");
  EXPECT_DOUBLE_EQ(scale_of(config), scale);
  EXPECT_EQ(
      join(config.notes, "\n"),
      "c.json: no 'source_config' states 'rope_scaling', so positions rotate without it, as MLC's do, which "
      "differs from transformers; convert the checkpoint again to mend it");
}

// As MLC's class states it, for which lengths stand in the scaling too.
TEST(SourceConfig, LongropeOfPhi3) {
  const char* const lengths =
      R"("rope_type":"longrope","max_position_embeddings":64,"original_max_position_embeddings":16})";
  auto tail = [](const ModelConfig& config) {
    const std::string text = config.fields["rope_scaling"].dump();
    return text.substr(text.find("\"rope_type\""));
  };
  const ModelConfig config = parsed("phi3_longrope", "{}");
  EXPECT_EQ(tail(config), lengths);
  EXPECT_TRUE(config.source_fields["rope_scaling"].is_null());
  Json scaling = read("phi3_longrope", "config.json")["rope_scaling"];
  scaling["type"] = "su";  // its first name
  EXPECT_EQ(parsed("phi3_longrope", Json{{"rope_scaling", scaling}}.dump().c_str()).fields.dump(),
            config.fields.dump());
}

TEST(SourceConfig, ListsOfLayers) {
  auto said = [](const char* keys) {
    Json hf = read("smollm3", "config.json");
    hf.update(parse_json(keys, "test").value());
    const Result<ModelConfig> config = parse_hf_config(hf, "auto", "c.json");
    return config.is_ok() ? join(config->notes, "\n") : config.status().message();
  };
  EXPECT_EQ(
      said(R"({"no_rope_layers": [1, 0, 1]})"),
      "c.json: key 'no_rope_layers' lists 3 layers, expected the 4 of the model; the config is damaged");
  EXPECT_EQ(said(R"({"no_rope_layers": 1})"),
            "c.json: key 'no_rope_layers' is 1, expected a list; the config is damaged");
  EXPECT_EQ(
      said(R"({"no_rope_layers": [1, 0, 2, 0]})"),
      "c.json: key 'no_rope_layers' is [1,0,2,0], expected 0 or 1; this variant of the model is not built");
  EXPECT_EQ(said(R"({"no_rope_layers": []})"), "");
}

// Of models of which MLC's file says all, nothing is added: their files stay MLC's to the byte.
TEST(SourceConfig, SaysNothingThatMlcSays) {
  for (const std::string& toy : mlc::testing::toys_with("mlc-configs.json")) {
    const Json stated = read(toy, "mlc-configs.json")["q4f16_1"].value("source_config", Json::object());
    EXPECT_EQ(source_config(parsed(toy, "{}")).dump(), stated.dump()) << toy;
  }
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
