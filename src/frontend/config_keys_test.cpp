// Keys that are no fields: configs as public models have them get no word, and every key that changes the
// result is applied, refused or noted by its name.
#include "frontend/config_keys.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "frontend/config.h"
#include "support/toys.h"

namespace mlc::frontend {
namespace {

using mlc::testing::toy_file;

const std::vector<std::string> kTypes = {"llama", "qwen2", "gpt_neox"};

Json config_of(const std::string& toy) { return read_json_file(toy_file(toy, "config.json")).value(); }

Json parse(const std::string& text) { return parse_json(text, "test").value(); }

struct Public {
  const char *name, *json;
};

// Sizes are shortened; keys and the values of all others are those of the public files.
const Public kPublic[] = {
    {"Llama-2-7b-hf",
     R"({"_name_or_path":"meta-llama/Llama-2-7b-hf","architectures":["LlamaForCausalLM"],"bos_token_id":1,"eos_token_id":2,
     "hidden_act":"silu","hidden_size":64,"initializer_range":0.02,"intermediate_size":96,"max_position_embeddings":4096,
     "model_type":"llama","num_attention_heads":4,"num_hidden_layers":2,"num_key_value_heads":4,"pretraining_tp":1,
     "rms_norm_eps":1e-05,"rope_scaling":null,"tie_word_embeddings":false,"torch_dtype":"float16",
     "transformers_version":"4.31.0.dev0","use_cache":true,"vocab_size":320})"},
    {"Llama-3.2-1B-Instruct",
     R"({"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":128000,
     "eos_token_id":[128001,128008,128009],"head_dim":16,"hidden_act":"silu","hidden_size":64,"initializer_range":0.02,
     "intermediate_size":96,"max_position_embeddings":131072,"mlp_bias":false,"model_type":"llama","num_attention_heads":4,
     "num_hidden_layers":2,"num_key_value_heads":2,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":{"factor":32.0,
     "high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"},
     "rope_theta":500000.0,"tie_word_embeddings":true,"torch_dtype":"bfloat16","transformers_version":"4.45.0.dev0",
     "use_cache":true,"vocab_size":320})"},
    {"SmolLM2-135M-Instruct",
     R"({"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,
     "hidden_act":"silu","hidden_size":64,"initializer_range":0.041666666666666664,"intermediate_size":96,
     "is_llama_config":true,"max_position_embeddings":8192,"mlp_bias":false,"model_type":"llama","num_attention_heads":4,
     "num_hidden_layers":2,"num_key_value_heads":2,"pad_token_id":2,"pretraining_tp":1,"rms_norm_eps":1e-05,
     "rope_interleaved":false,"rope_scaling":null,"rope_theta":100000,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
     "transformers_version":"4.42.3","transformers.js_config":{"kv_cache_dtype":{"q4f16":"float16","fp16":"float16"}},
     "use_cache":true,"vocab_size":320})"},
    {"vicuna-7b-v1.1",
     R"({"_name_or_path":"vicuna-7b","architectures":["LlamaForCausalLM"],"bos_token_id":1,"eos_token_id":2,
     "hidden_act":"silu","hidden_size":64,"initializer_range":0.02,"intermediate_size":96,"max_position_embeddings":2048,
     "max_sequence_length":2048,"model_type":"llama","num_attention_heads":4,"num_hidden_layers":2,"pad_token_id":0,
     "rms_norm_eps":1e-06,"tie_word_embeddings":false,"torch_dtype":"float16","transformers_version":"4.28.0.dev0",
     "use_cache":true,"vocab_size":320})"},
    {"Falcon3-1B-Instruct",
     R"({"activation":"swiglu","architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,
     "eos_token_id":11,"head_dim":16,"hidden_act":"silu","hidden_size":64,"initializer_range":0.02,"intermediate_size":96,
     "max_position_embeddings":8192,"mlp_bias":false,"model_type":"llama","num_attention_heads":4,"num_hidden_layers":2,
     "num_key_value_heads":2,"pretraining_tp":1,"rms_norm_eps":1e-06,"rope_scaling":null,"rope_theta":1000042,
     "tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.46.1","use_cache":true,
     "vocab_size":320})"},
    {"Qwen2.5-0.5B-Instruct",
     R"({"architectures":["Qwen2ForCausalLM"],"attention_dropout":0.0,"bos_token_id":151643,"eos_token_id":151645,
     "hidden_act":"silu","hidden_size":64,"initializer_range":0.02,"intermediate_size":96,"max_position_embeddings":32768,
     "max_window_layers":21,"model_type":"qwen2","num_attention_heads":4,"num_hidden_layers":2,"num_key_value_heads":2,
     "rms_norm_eps":1e-06,"rope_theta":1000000.0,"sliding_window":32768,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
     "transformers_version":"4.43.1","use_cache":true,"use_sliding_window":false,"vocab_size":320})"},
    {"DeepSeek-R1-Distill-Qwen-1.5B",
     R"({"architectures":["Qwen2ForCausalLM"],"attention_dropout":0.0,"bos_token_id":151643,"eos_token_id":151643,
     "hidden_act":"silu","hidden_size":64,"initializer_range":0.02,"intermediate_size":96,"max_position_embeddings":131072,
     "max_window_layers":21,"model_type":"qwen2","num_attention_heads":4,"num_hidden_layers":2,"num_key_value_heads":2,
     "rms_norm_eps":1e-06,"rope_theta":10000,"sliding_window":4096,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
     "transformers_version":"4.44.0","use_cache":true,"use_mrope":false,"use_sliding_window":false,"vocab_size":320})"},
    {"pythia-70m",
     R"({"architectures":["GPTNeoXForCausalLM"],"bos_token_id":0,"eos_token_id":0,"hidden_act":"gelu","hidden_size":64,
     "initializer_range":0.02,"intermediate_size":96,"layer_norm_eps":1e-05,"max_position_embeddings":2048,
     "model_type":"gpt_neox","num_attention_heads":4,"num_hidden_layers":2,"rotary_emb_base":10000,"rotary_pct":0.25,
     "tie_word_embeddings":false,"torch_dtype":"float16","transformers_version":"4.24.0","use_cache":true,
     "use_parallel_residual":true,"vocab_size":320})"},
    {"dolly-v2-3b",
     R"({"_name_or_path":"EleutherAI/pythia-2.8b","architectures":["GPTNeoXForCausalLM"],"bos_token_id":0,
     "custom_pipelines":{"text-generation":{"impl":"instruct_pipeline.InstructionTextGenerationPipeline",
     "pt":"AutoModelForCausalLM","tf":"TFAutoModelForCausalLM"}},"eos_token_id":0,"gradient_checkpointing":false,
     "hidden_act":"gelu","hidden_size":64,"initializer_range":0.02,"intermediate_size":96,"layer_norm_eps":1e-05,
     "max_position_embeddings":2048,"model_type":"gpt_neox","num_attention_heads":4,"num_hidden_layers":2,
     "rotary_emb_base":10000,"rotary_pct":0.25,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
     "transformers_version":"4.25.1","use_cache":true,"use_parallel_residual":true,"vocab_size":320})"},
    {"GPTNeoX of transformers 5, in full",
     R"({"transformers_version":"5.24.0","architectures":["GPTNeoXForCausalLM"],"output_hidden_states":false,"return_dict":true,
     "dtype":null,"chunk_size_feed_forward":0,"is_encoder_decoder":false,"id2label":{"0":"LABEL_0"},"label2id":{"LABEL_0":0},
     "problem_type":null,"vocab_size":320,"hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,
     "intermediate_size":96,"hidden_act":"gelu","attention_dropout":0.0,"hidden_dropout":0.0,"classifier_dropout":0.1,
     "max_position_embeddings":2048,"initializer_range":0.02,"layer_norm_eps":1e-05,"use_cache":true,"bos_token_id":0,
     "eos_token_id":2,"pad_token_id":null,"tie_word_embeddings":false,"use_parallel_residual":true,"rope_parameters":
     {"rope_theta":10000.0,"partial_rotary_factor":0.25,"rope_type":"default"},"attention_bias":true,"is_decoder":false,
     "_name_or_path":"","model_type":"gpt_neox","output_attentions":false})"},
    {"Qwen2 of transformers 5, in full",
     R"({"transformers_version":"5.24.0","architectures":["Qwen2ForCausalLM"],"output_hidden_states":false,"return_dict":true,
     "dtype":"bfloat16","chunk_size_feed_forward":0,"is_encoder_decoder":false,"problem_type":null,"vocab_size":320,
     "hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":4,
     "hidden_act":"silu","max_position_embeddings":32768,"initializer_range":0.02,"rms_norm_eps":1e-06,"use_cache":true,
     "tie_word_embeddings":false,"rope_parameters":{"rope_theta":10000.0,"rope_type":"default"},"use_sliding_window":false,
     "sliding_window":null,"max_window_layers":28,"layer_types":["full_attention","full_attention"],"attention_dropout":0.0,
     "_name_or_path":"","model_type":"qwen2","output_attentions":false})"},
};

TEST(ConfigKeys, PublicConfigsGetNoWord) {
  for (const Public& model : kPublic) {
    const Result<ModelConfig> config = parse_hf_config(parse(model.json), "auto", "config.json");
    ASSERT_TRUE(config.is_ok()) << model.name << ": " << config.status().message();
    EXPECT_EQ(join(config->notes, "\n"), "") << model.name;
  }
  for (const char* toy : {"llama", "llama3_tied", "llama_odd", "qwen2", "gpt_neox"})
    EXPECT_EQ(join(parse_hf_config(config_of(toy), "auto", "c")->notes, "\n"), "") << toy;
}

// The refusal, or the notes, of a toy's config with one key more.
std::string said_of(const std::string& toy, const std::string& key, const std::string& value) {
  Json hf = config_of(toy);
  hf[key] = parse(value);
  const Result<ModelConfig> config = parse_hf_config(hf, "auto", "config.json");
  return config.is_ok() ? join(config->notes, "\n") : config.status().message();
}

struct Extra {
  const char *key, *value;
};

TEST(ConfigKeys, EveryKeyThatIsNotAppliedIsNamed) {
  const Extra extras[] = {
      {"attn_logit_softcapping", "50.0"},
      {"final_logit_softcapping", "30.0"},
      {"logit_scale", "0.0625"},
      {"logits_scaling", "8.0"},
      {"embedding_multiplier", "12.0"},
      {"residual_multiplier", "0.22"},
      {"attention_multiplier", "0.0078125"},
      {"query_pre_attn_scalar", "224"},
      {"clip_qkv", "8.0"},
      {"qk_norm", "true"},
      {"use_qk_norm", "true"},
      {"no_rope_layers", "[1, 0]"},
      {"alibi", "true"},
      {"num_experts", "8"},
      {"num_local_experts", "8"},
      {"n_routed_experts", "64"},
      {"num_experts_per_tok", "2"},
      {"moe_intermediate_size", "1408"},
      {"layer_types", "[\"sliding_attention\", \"full_attention\"]"},
      {"attention_chunk_size", "8"},
      {"use_sliding_window", "true"},
      {"sliding_window_pattern", "6"},
      {"rope_local_base_freq", "10000.0"},
      {"rope_ratio", "2.0"},
      {"rotary_dim", "4"},
      {"rope_interleaved", "true"},
      {"rope_something_new", "3"},
      {"norm_type", "\"layernorm\""},
      {"activation_function", "\"relu2\""},
      {"hidden_activation", "\"gelu_pytorch_tanh\""},
      {"hidden_act", "\"gelu_new\""},
      {"scale_attn_weights", "false"},
      {"is_causal", "false"},
      {"text_config", "{\"model_type\": \"llama\"}"},
      {"dual_chunk_attention_config", "{\"chunk_size\": 8}"},
      {"quantization_config", "{\"quant_method\": \"gptq\", \"bits\": 3}"},
      {"quantization_config", "{\"quant_method\": \"hqq\"}"},
      {"quantization_config", "{\"quant_method\": \"compressed-tensors\", \"config_groups\": {}}"},
      {"quantization", "{\"group_size\": 64, \"bits\": 3}"},
  };
  for (const std::string& toy : kTypes)
    for (const Extra& extra : extras)
      EXPECT_NE(said_of(toy, extra.key, extra.value).find(extra.key), std::string::npos)
          << toy << " " << extra.key << ": " << said_of(toy, extra.key, extra.value);
  for (const Extra& extra :
       {Extra{"sliding_window", "64"}, {"partial_rotary_factor", "0.5"}, {"qkv_bias", "true"}})
    EXPECT_NE(said_of("llama", extra.key, extra.value).find(extra.key), std::string::npos) << extra.key;
  for (const Extra& extra :
       {Extra{"attention_bias", "false"}, {"num_key_value_heads", "2"}, {"tie_word_embeddings", "true"}})
    EXPECT_NE(said_of("gpt_neox", extra.key, extra.value).find(extra.key), std::string::npos) << extra.key;
}

TEST(ConfigKeys, ValuesThatChangeNothingGetNoWord) {
  const Extra extras[] = {
      {"attn_logit_softcapping", "null"},
      {"final_logit_softcapping", "0.0"},
      {"logit_scale", "1"},
      {"clip_qkv", "null"},
      {"qk_norm", "false"},
      {"no_rope_layers", "[]"},
      {"no_rope_layers", "[1, 1]"},
      {"num_experts", "0"},
      {"layer_types", "[\"full_attention\", \"full_attention\"]"},
      {"sliding_window", "4096"},
      {"pruned_heads", "{}"},
      {"use_logn_attn", "false"},
      {"embd_pdrop", "0.1"},
      {"sep_token_id", "3"},
      {"rope_parameters", "{}"},
      {"quantization_config", "{\"load_in_4bit\": false, \"load_in_8bit\": false}"},
      {"anything_unknown", "null"},
  };
  for (const std::string& toy : kTypes)
    for (const Extra& extra : extras)
      EXPECT_EQ(said_of(toy, extra.key, extra.value), "") << toy << " " << extra.key << " " << extra.value;
  EXPECT_EQ(said_of("llama", "query_pre_attn_scalar", "24"), "");
}

TEST(ConfigKeys, UnknownKeysGetOneNote) {
  Json hf = config_of("llama");
  hf["rope_new"] = 3;
  hf["shape_of_things"] = "to come";
  EXPECT_EQ(join(parse_hf_config(hf, "auto", "config.json")->notes, "\n"),
            "config.json: not applied by models of type llama: key 'rope_new' (3), key 'shape_of_things' "
            "(\"to come\"); "
            "if the checkpoint was trained with them, answers differ");
  for (int i = 0; i < 1000; ++i) hf[str("key_", i)] = std::string(500, 'x');
  const std::vector<std::string> notes = parse_hf_config(hf, "auto", "config.json")->notes;
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_LT(notes[0].size(), 5000u);
  EXPECT_NE(notes[0].find("and 962 more"), std::string::npos) << notes[0];
}

TEST(ConfigKeys, ConvertedFoldersAreLookedThroughToo) {
  Json mlc = read_json_file(toy_file("qwen2", "mlc-configs.json")).value()["q4f16_1"];
  mlc["model_config"]["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}};
  mlc["model_config"]["rope_new"] = 1;
  const ModelConfig config = parse_mlc_config(mlc, "auto", "c.json").value();
  ASSERT_EQ(config.notes.size(), 1u);
  EXPECT_EQ(rope_spec(config).kind, "yarn");
  mlc["model_config"].erase("rope_scaling");
  mlc["model_config"]["rope_parameters"] = {{"rope_theta", 77000.0}};
  EXPECT_EQ(parse_mlc_config(mlc, "auto", "c.json")->get_double("rope_theta"), 77000);
  EXPECT_NE(config.notes[0].find("rope_new"), std::string::npos);
}

TEST(ConfigKeys, TypeByArchitecture) {
  for (const std::string& toy : kTypes) {
    Json hf = config_of(toy);
    hf.erase("model_type");
    EXPECT_EQ(parse_hf_config(hf, "auto", "c")->model_type, toy);
    hf["architectures"] = {"MambaForCausalLM"};
    const std::string message = parse_hf_config(hf, "auto", "c").status().message();
    EXPECT_NE(message.find("MambaForCausalLM"), std::string::npos) << message;
  }
}

double base_of(const Json& hf) {
  const ModelConfig config = parse_hf_config(hf, "auto", "config.json").value();
  return config.get_double(config.has("rope_theta") ? "rope_theta" : "position_embedding_base");
}

// As transformers 5.24 reads them.
TEST(ConfigRope, BaseOfEverySpelling) {
  for (const char* toy : {"llama", "qwen2"}) {
    Json hf = config_of(toy);
    hf["rope_theta"] = 20000.0;
    EXPECT_EQ(base_of(hf), 20000) << toy;
    hf["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 500000.0}};
    EXPECT_EQ(base_of(hf), 500000) << toy;
    hf["rope_scaling"] = {{"type", "default"}, {"rope_theta", 700000.0}};
    EXPECT_EQ(base_of(hf), 700000) << toy;
    const std::string notes = join(parse_hf_config(hf, "auto", "config.json")->notes, "\n");
    EXPECT_NE(notes.find("'rope_parameters'"), std::string::npos) << notes;
    EXPECT_NE(notes.find("'rope_theta'"), std::string::npos) << notes;
  }
  Json neox = config_of("gpt_neox");
  neox["rope_theta"] = 500000.0;
  EXPECT_EQ(base_of(neox), 10000);
  EXPECT_NE(said_of("gpt_neox", "rope_theta", "500000.0").find("'rope_theta'"), std::string::npos);
  neox["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 30000}, {"partial_rotary_factor", 0.5}};
  EXPECT_EQ(base_of(neox), 30000);
  EXPECT_EQ(parse_hf_config(neox, "auto", "c")->get_double("rotary_pct"), 0.5);
}

TEST(ConfigRope, ParametersByKindOfLayer) {
  Json hf = config_of("llama");
  const Json full = {{"rope_type", "default"}, {"rope_theta", 700000.0}},
             other = {{"rope_type", "default"}, {"rope_theta", 10000.0}};
  hf["rope_parameters"] = {{"sliding_attention", full}, {"full_attention", full}};
  EXPECT_EQ(base_of(hf), 700000);
  hf["rope_parameters"] = {{"sliding_attention", other}, {"full_attention", full}};
  const std::string message = parse_hf_config(hf, "auto", "c").status().message();
  EXPECT_NE(message.find("rope_parameters"), std::string::npos) << message;
  hf["layer_types"] = {"full_attention", "full_attention"};
  EXPECT_EQ(base_of(hf), 700000);
}

TEST(ConfigRope, EveryKindInBothSpellings) {
  struct {
    const char *scaling, *spec;  // "" = none is left
  } const cases[] = {
      {R"({"type": "linear", "factor": 4.0})", R"({"factor":4.0,"rope_type":"linear"})"},
      {R"({"rope_type": "linear", "factor": 4.0})", R"({"rope_type":"linear","factor":4.0})"},
      {R"({"type": "dynamic", "factor": 2.0})",
       R"({"factor":2.0,"rope_type":"dynamic","max_position_embeddings":256})"},
      {R"({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128})",
       R"({"factor":4.0,"original_max_position_embeddings":128,"rope_type":"yarn"})"},
      {R"({"rope_type": "yarn", "factor": null, "original_max_position_embeddings": 128})",
       R"({"rope_type":"yarn","factor":2.0,"original_max_position_embeddings":128})"},
      {R"({"rope_type": "yarn", "factor": 4.0})",
       R"({"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":256})"},
      {R"({"type": "linear", "factor": 1.0})", ""},
      {R"({"rope_type": "yarn", "factor": 1.0})", ""},
      {R"({"rope_type": "default"})", ""},
      {R"({"rope_theta": 10000.0})", ""},
      {R"({"type": "mrope", "mrope_section": [16, 24, 24]})", ""},
  };
  for (const std::string& toy : kTypes)
    for (const auto& c : cases)
      for (const char* key : {"rope_scaling", "rope_parameters"}) {
        Json hf = config_of(toy);
        hf["max_position_embeddings"] = 256;
        hf[key] = parse(c.scaling);
        const Result<ModelConfig> config = parse_hf_config(hf, "auto", "config.json");
        ASSERT_TRUE(config.is_ok()) << config.status().message();
        const Json scaling = rope_spec(*config).scaling;
        EXPECT_EQ(scaling.is_null() ? "" : scaling.dump(), c.spec) << toy << " " << c.scaling;
        EXPECT_EQ(join(config->notes, "\n"), "") << toy << " " << c.scaling;
      }
}

TEST(ConfigRope, ScalingsThatMakeNoSense) {
  struct {
    const char *scaling, *message;
  } const cases[] = {
      {R"({"rope_type": "ntk", "factor": 4.0})", "rope_type 'ntk', expected default, dynamic, "},
      {R"({"type": "ntk", "factor": 4.0})", "rope_type 'ntk', expected default, dynamic, "},
      {R"({"rope_type": "linear"})", "'factor' is missing, expected a number above 0"},
      {R"({"rope_type": "dynamic", "factor": -1})", "'factor' is -1, expected a number above 0"},
      {R"({"rope_type": "yarn", "factor": 4.0, "truncate": 1})", "'truncate' is 1, expected true or false"},
      {R"({"rope_type": "yarn", "factor": 4.0, "beta_fast": "32"})",
       "'beta_fast' is \"32\", expected a number"},
      {R"({"rope_type": "longrope", "long_factor": [2.0]})", "'short_factor' is missing, expected a list"},
      {R"({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [0]})", "'long_factor' is [0]"},
      {R"({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [2.0]})",
       "'short_factor' has 1 numbers, expected 12, half of the 24 rotated elements"},
  };
  for (const auto& c : cases) {
    const std::string said = said_of("llama", "rope_scaling", c.scaling);
    EXPECT_EQ(said.rfind("config.json: rope_scaling ", 0), 0u) << said;
    EXPECT_NE(said.find(c.message), std::string::npos) << said;
  }
  for (const char* left : {R"({"factor": 2.0})", R"({"rope_type": "default", "factor": 2.0})",
                           R"({"type": "linear", "factor": 2.0, "beta_fast": 32})"})
    for (const std::string& toy : kTypes)
      EXPECT_NE(
          said_of(toy, "rope_scaling", left).find("not applied with this rope_type: key 'rope_scaling."),
          std::string::npos)
          << toy << " " << left;
}

TEST(ConfigRope, Llama3InBothSpellings) {
  Json hf = config_of("llama3_tied");
  const std::string expected = parse_hf_config(hf, "auto", "c")->fields.dump();
  Json& scaling = hf["rope_scaling"];
  scaling["type"] = scaling["rope_type"];
  scaling.erase("rope_type");
  const ModelConfig config = parse_hf_config(hf, "auto", "c").value();
  EXPECT_EQ(config.fields.dump(), expected);
  EXPECT_TRUE(config.notes.empty());
  hf["rope_scaling"]["attention_factor"] = 1.5;
  EXPECT_NE(join(parse_hf_config(hf, "auto", "c")->notes, "").find("rope_scaling.attention_factor"),
            std::string::npos);
  Json qwen = config_of("qwen2");
  qwen["rope_scaling"] = config_of("llama3_tied")["rope_scaling"];
  EXPECT_EQ(rope_spec(parse_hf_config(qwen, "auto", "c").value()).kind, "llama3");
}

}  // namespace
}  // namespace mlc::frontend
