// gemma3's configs: MLC's class around that of the text model, from both forms of checkpoints and back.
#include "frontend/config_nested.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "formats/source_expr.h"
#include "frontend/config.h"
#include "support/toys.h"

namespace mlc::frontend {
namespace {

Json toy() { return read_json_file(mlc::testing::toy_file("gemma3_text", "config.json")).value(); }

Json parse(const char* text) { return parse_json(text, "test").value(); }

ModelConfig parsed(const Json& hf) { return parse_hf_config(hf, "auto", "c.json").value(); }

std::string said(const Json& hf) {
  const Result<ModelConfig> config = parse_hf_config(hf, "auto", "c.json");
  return config.is_ok() ? join(config->notes, "\n") : config.status().message();
}

Json with(Json hf, const char* keys) {
  hf.update(parse(keys));
  return hf;
}

Json written(const ModelConfig& config) {
  EXPECT_EQ(source_config(config).dump(), "{}");
  return {{"model_type", config.model_type},
          {"model_config", config.fields},
          {"context_window_size", config.fields["context_window_size"]},
          {"sliding_window_size", config.fields["sliding_window_size"]}};
}

// The text model's config inside one for images.
Json around(Json text) {
  text["model_type"] = "gemma3_text";
  return {{"architectures", {"Gemma3ForConditionalGeneration"}},
          {"model_type", "gemma3"},
          {"text_config", std::move(text)},
          {"vision_config", {{"hidden_size", 32}, {"num_hidden_layers", 2}}}};
}

// google/gemma-3-1b-it's keys, in its order.
const char kPublic[] =
    R"({"architectures":["Gemma3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,
    "attn_logit_softcapping":null,"bos_token_id":2,"cache_implementation":"hybrid","eos_token_id":[1,106],
    "final_logit_softcapping":null,"head_dim":256,"hidden_activation":"gelu_pytorch_tanh","hidden_size":1152,
    "initializer_range":0.02,"intermediate_size":6912,"max_position_embeddings":32768,"model_type":"gemma3_text",
    "num_attention_heads":4,"num_hidden_layers":26,"num_key_value_heads":1,"pad_token_id":0,
    "query_pre_attn_scalar":256,"rms_norm_eps":1e-06,"rope_local_base_freq":10000,"rope_scaling":null,
    "rope_theta":1000000,"sliding_window":512,"sliding_window_pattern":6,"torch_dtype":"bfloat16",
    "transformers_version":"4.50.0.dev0","use_cache":true,"vocab_size":262144})";

TEST(NestedConfig, IsMlcsClassInMlcsClass) {
  ModelConfig config = parsed(parse(kPublic));
  ASSERT_TRUE(apply_overrides(config, {.max_batch_size = 128}).is_ok());
  EXPECT_EQ(join(config.notes, "\n"), "");
  EXPECT_EQ(config.fields.dump(), parse(R"({"text_config":{"hidden_size":1152,"intermediate_size":6912,
    "num_hidden_layers":26,"attention_bias":false,"num_attention_heads":4,"num_key_value_heads":1,"head_dim":256,
    "rms_norm_eps":1e-06,"hidden_activation":"gelu_pytorch_tanh","position_embedding_base":1000000,
    "rope_scaling":null,"context_window_size":8192,"prefill_chunk_size":8192,"query_pre_attn_scalar":256,
    "sliding_window_size":512,"kwargs":{"architectures":["Gemma3ForCausalLM"],"attention_dropout":0.0,
    "attn_logit_softcapping":null,"bos_token_id":2,"cache_implementation":"hybrid","eos_token_id":[1,106],
    "final_logit_softcapping":null,"initializer_range":0.02,"max_position_embeddings":32768,
    "model_type":"gemma3_text","pad_token_id":0,"rope_local_base_freq":10000,"sliding_window":512,
    "sliding_window_pattern":6,"torch_dtype":"bfloat16","transformers_version":"4.50.0.dev0","use_cache":true}},
    "vocab_size":262144,"tensor_parallel_shards":1,"max_batch_size":128,"context_window_size":8192,
    "sliding_window_size":512,"prefill_chunk_size":8192,"is_text_model":true})")
                                      .dump());
}

// Every form of checkpoint there and back: the same model without a word.
TEST(NestedConfig, RoundTrip) {
  const Json newer = with(toy(), R"({"rope_theta": null, "rope_scaling": null, "rope_local_base_freq": null,
    "sliding_window_pattern": null, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "rope_parameters": {"full_attention": {"factor": 4.0, "rope_theta": 5000.0, "rope_type": "linear"},
                        "sliding_attention": {"rope_theta": 100.0, "rope_type": "default"}}})");
  for (const Json& hf : {toy(), newer, around(toy()), parse(kPublic)}) {
    ModelConfig config = parsed(hf);
    config.notes.clear();
    ASSERT_TRUE(apply_overrides(config, {.context_window_size = 48}).is_ok());
    const ModelConfig again = parse_mlc_config(written(config), "auto", "mlc-chat-config.json").value();
    EXPECT_EQ(join(again.notes, "\n"), "");
    EXPECT_EQ(again.fields.dump(), config.fields.dump());
    EXPECT_EQ(again.get_int("prefill_chunk_size"), 48);
    EXPECT_EQ(again.sliding_window_size, 0);  // a limit of layers
    const std::vector<RopeSpec> first = rope_specs(config), second = rope_specs(again);
    ASSERT_EQ(first.size(), 2u);
    for (size_t i : {0, 1}) EXPECT_EQ(second[i].to_json().dump(), first[i].to_json().dump());
  }
  const std::vector<RopeSpec> older_specs = rope_specs(parsed(toy())),
                              newer_specs = rope_specs(parsed(newer));
  EXPECT_EQ(older_specs[0].to_json().dump(), newer_specs[0].to_json().dump());
  EXPECT_EQ(older_specs[1].to_json().dump(),
            R"({"kind":"default","rotary_dim":24,"theta":100.0,"scaling":null})");
  EXPECT_EQ(older_specs[1].to_json().dump(), newer_specs[1].to_json().dump());
}

// Of a model for images the text model alone, by its names and with a word on the rest.
TEST(NestedConfig, OfAModelForImages) {
  Json hf = around(toy());
  EXPECT_EQ(said(hf).rfind("c.json: not applied by models of type gemma3: key 'vision_config' (", 0), 0u)
      << said(hf);
  auto sources = [](const ModelConfig& config) {
    std::string all;
    for (const Parameter& p : build_model(config, find_quant_scheme("q0f16").value()).parameters)
      if (p.name.find("layers.1.self_attn") != std::string::npos || p.name.ends_with("model.norm.weight"))
        all += str(p.name, " ", join(source_names(p.source), " "), "\n");
    return all;
  };
  const std::string layer = "model.layers.1.self_attn.";
  std::string alone, inside;
  for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"}) {
    const std::string tensor = str(layer, name, ".weight");
    alone += str("language_model.", tensor, " ", tensor, "\n");
    inside += str("language_model.", tensor, " language_model.", tensor, "\n");
  }
  EXPECT_EQ(sources(parsed(toy())), alone + "language_model.model.norm.weight model.norm.weight\n");
  EXPECT_EQ(sources(parsed(hf)),
            inside + "language_model.model.norm.weight language_model.model.norm.weight\n");
  hf["model_type"] = "llava";
  EXPECT_NE(said(hf).find("key 'text_config' makes it a model around the text model 'gemma3_text'"),
            std::string::npos)
      << said(hf);
}

TEST(NestedConfig, LayersAreListedOrFollowThePattern) {
  auto windows = [](const Json& hf) {
    ModelConfig config = parsed(hf);
    const BuiltModel built = build_model(config, find_quant_scheme("q0f32").value());
    std::string all;
    for (const auto& node : built.module->find_function("decode")->nodes)
      if (node->op == "attention") all += node->attributes.contains("window") ? "w" : ".";
    return all;
  };
  EXPECT_EQ(windows(toy()), "w.w");
  EXPECT_EQ(windows(with(toy(), R"({"num_hidden_layers": 7, "sliding_window_pattern": null})")), "wwwww.w");
  EXPECT_EQ(windows(with(toy(), R"({"layer_types": ["full_attention", "full_attention",
                                                    "sliding_attention"]})")),
            "..w");
  EXPECT_EQ(said(with(toy(), R"({"layer_types": ["full_attention"]})")),
            "c.json: key 'layer_types' lists 1 layers, expected the 3 of the model; the config is damaged");
  EXPECT_EQ(said(with(toy(), R"({"layer_types": ["full_attention", "linear_attention", "full_attention"]})"))
                .rfind("c.json: key 'layer_types' is [\"full_attention\",\"linear_attention\"", 0),
            0u);
  EXPECT_EQ(
      said(with(toy(), R"({"sliding_window_pattern": [1, 0]})")),
      "c.json: key 'sliding_window_pattern' is [1,0], expected an integer from 1 to 4096; the config is "
      "damaged");
}

}  // namespace
}  // namespace mlc::frontend
