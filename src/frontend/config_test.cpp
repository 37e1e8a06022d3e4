// Configs: MLC's fields in MLC's order from Hugging Face's files, and one sentence for every bad one.
#include "frontend/config.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "support/toys.h"

namespace mlc::frontend {
namespace {

using mlc::testing::toy_file;

Json read(const std::string& toy, const std::string& name) {
  return read_json_file(toy_file(toy, name)).value();
}

class Config : public ::testing::TestWithParam<std::string> {};

TEST_P(Config, FieldsAreThoseOfMlc) {
  const std::string& toy = GetParam();
  const Json configs = read(toy, "mlc-configs.json");
  for (const auto& [scheme, expected] : configs.items()) {
    ModelConfig config = parse_hf_config(read(toy, "config.json"), "auto", "config.json").value();
    ConfigOverrides overrides{.max_batch_size = 128};
    if (toy == "llama" && scheme == "q4f32_1")
      overrides = {.context_window_size = 128, .prefill_chunk_size = 64, .max_batch_size = 4};
    ASSERT_TRUE(apply_overrides(config, overrides).is_ok());
    EXPECT_EQ(config.fields.dump(), expected["model_config"].dump()) << scheme;  // values and key order
    const ModelConfig again = parse_mlc_config(expected, "auto", "mlc-chat-config.json").value();
    EXPECT_EQ(again.fields.dump(), config.fields.dump()) << scheme;
    EXPECT_TRUE(again.notes.empty());
  }
}

INSTANTIATE_TEST_SUITE_P(Toys, Config, ::testing::ValuesIn(mlc::testing::toys_with("mlc-configs.json")),
                         [](const auto& i) { return i.param; });

Json llama() { return read("llama", "config.json"); }

ModelConfig parsed(const Json& hf) { return parse_hf_config(hf, "auto", "config.json").value(); }

TEST(ConfigRules, TopLevelKeysOfMlcWin) {
  Json mlc = read("llama", "mlc-configs.json")["q4f16_1"];
  mlc["context_window_size"] = 100;
  mlc["prefill_chunk_size"] = 50;
  const ModelConfig config = parse_mlc_config(mlc, "auto", "mlc-chat-config.json").value();
  EXPECT_EQ(config.get_int("context_window_size"), 100);
  EXPECT_EQ(config.get_int("prefill_chunk_size"), 50);
}

TEST(ConfigRules, InferWhatIsNotSaid) {
  Json hf = llama();
  for (const char* key : {"head_dim", "rope_theta"}) hf[key] = nullptr;
  hf["num_key_value_heads"] = 0;
  hf["max_position_embeddings"] = 131072;
  const ModelConfig config = parsed(hf);
  EXPECT_EQ(config.get_int("head_dim"), 24);
  EXPECT_EQ(config.get_int("num_key_value_heads"), 4);
  EXPECT_EQ(config.get_int("prefill_chunk_size"), 8192);
  EXPECT_EQ(config.fields["position_embedding_base"].dump(), "10000");
  EXPECT_EQ(config.get_int("max_batch_size"), 1);
}

TEST(ConfigRules, ContextFallsBackToMaxSequenceLength) {
  Json hf = llama();
  hf.erase("max_position_embeddings");
  hf["max_sequence_length"] = 512;
  EXPECT_EQ(parsed(hf).get_int("context_window_size"), 512);
}

TEST(ConfigRules, ShorterContextResetsThePrefillChunk) {
  ModelConfig config = parsed(llama());
  ASSERT_TRUE(apply_overrides(config, {.context_window_size = 100}).is_ok());
  EXPECT_EQ(config.get_int("prefill_chunk_size"), 100);
  EXPECT_TRUE(config.notes.empty());
  ASSERT_TRUE(apply_overrides(config, {.prefill_chunk_size = 300}).is_ok());
  EXPECT_EQ(config.get_int("prefill_chunk_size"), 100);
  EXPECT_EQ(config.notes.size(), 1u);
}

TEST(ConfigRules, OverridesWithoutAFieldAreNoted) {
  ModelConfig config = parsed(llama());
  ASSERT_TRUE(apply_overrides(config, {.sliding_window_size = 64}).is_ok());
  ASSERT_EQ(config.notes.size(), 1u);
  EXPECT_NE(config.notes[0].find("--sliding-window-size"), std::string::npos);
  EXPECT_FALSE(config.has("sliding_window_size"));
}

// Models of every type can be compiled with a window: the keys of mlc-chat-config.json turn it on.
TEST(ConfigRules, SlidingWindow) {
  const Json plain = read("llama", "mlc-configs.json").at("q4f16_1");
  auto with = [&](const Json& window, const Json& sinks) {
    Json mlc = plain;
    mlc["sliding_window_size"] = window;
    mlc["attention_sink_size"] = sinks;
    return parse_mlc_config(mlc, "auto", "c.json");
  };
  EXPECT_EQ(parse_mlc_config(plain, "auto", "c.json")->sliding_window_size, 0);
  EXPECT_EQ(with(-1, 4)->sliding_window_size, 0);  // mistral's files have sinks without a window
  const auto config = with(64, 0);
  ASSERT_TRUE(config.is_ok());
  EXPECT_EQ(config->sliding_window_size, 64);
  EXPECT_EQ(config->attention_sink_size, 0);
  EXPECT_EQ(config->get_int("prefill_chunk_size"), 64);
  EXPECT_EQ(config->notes.size(), 1u);  // of the chunk
  EXPECT_EQ(with(64, -1)->attention_sink_size, 4);
  Json dynamic = plain;
  dynamic["sliding_window_size"] = 256;
  dynamic["source_config"]["rope_scaling"] = {{"rope_type", "dynamic"}, {"factor", 2.0}};
  EXPECT_EQ(parse_mlc_config(dynamic, "auto", "c.json")->notes.at(0),
            "c.json: with a sliding_window_size, rope_scaling dynamic rotates as in a text as long as the "
            "window and "
            "a step together");
  EXPECT_EQ(with(3, -1)->attention_sink_size, 2);
  EXPECT_EQ(with(64, 64).status().message(),
            "c.json: attention_sink_size is 64, expected 0 to 63, less than the sliding_window_size 64");
  EXPECT_EQ(with(0, 0).status().message(),
            "c.json: sliding_window_size is 0, expected 1 to 1073741824, or -1 for none");
  EXPECT_FALSE(with("64", 4).is_ok());
  EXPECT_FALSE(with(64, -2).is_ok());
}

TEST(ConfigRules, RopeScaling) {
  Json hf = llama();
  hf["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  ModelConfig config = parsed(hf);
  EXPECT_TRUE(config.fields["rope_scaling"].is_null());  // MLC drops it
  EXPECT_EQ(config.source_fields["rope_scaling"].dump(), R"({"factor":2.0,"rope_type":"linear"})");
  EXPECT_TRUE(config.notes.empty());
  hf["rope_scaling"] = {{"rope_type", "default"}};
  config = parsed(hf);
  EXPECT_TRUE(config.fields["rope_scaling"].is_null());
  EXPECT_TRUE(config.notes.empty());
  const ModelConfig llama3 = parsed(read("llama3_tied", "config.json"));
  EXPECT_EQ(llama3.fields["rope_scaling"]["rope_type"], "llama3");
}

TEST(ConfigRules, RopeParametersOfTransformers5) {
  Json hf = read("llama3_tied", "config.json");
  Json parameters = hf["rope_scaling"];
  parameters["rope_theta"] = hf["rope_theta"];
  const std::string expected = parsed(hf).fields.dump();
  hf.erase("rope_scaling");
  hf.erase("rope_theta");
  hf["rope_parameters"] = parameters;
  EXPECT_EQ(parsed(hf).fields.dump(), expected);
}

struct Bad {
  const char *key, *value;  // JSON text; "" removes the key
  const char* message;
};

TEST(ConfigErrors, OneSentenceThatNamesTheKey) {
  const Bad cases[] = {
      {"hidden_size", "", "key 'hidden_size' is missing"},
      {"hidden_size", "0", "key 'hidden_size' is 0, expected an integer from 1 to 16777216"},
      {"hidden_size", "-96", "key 'hidden_size' is -96, expected"},
      {"hidden_size", "1e30", "key 'hidden_size' is 1e+30, expected"},
      {"hidden_size", "18446744073709551615", "key 'hidden_size' is 18446744073709551615, expected"},
      {"hidden_size", "\"96\"", "key 'hidden_size' is \"96\", expected an integer"},
      {"hidden_size", "96.5", "key 'hidden_size' is 96.5, expected an integer"},
      {"hidden_size", "[96]", "key 'hidden_size' is [96], expected an integer"},
      {"vocab_size", "0", "key 'vocab_size' is 0, expected"},
      {"num_hidden_layers", "2147483648",
       "key 'num_hidden_layers' is 2147483648, expected an integer from 1 to 4096"},
      {"num_attention_heads", "0", "key 'num_attention_heads' is 0, expected"},
      {"num_key_value_heads", "3", "num_attention_heads 4 is not a multiple of num_key_value_heads 3"},
      {"num_key_value_heads", "8", "num_attention_heads 4 is not a multiple of num_key_value_heads 8"},
      {"head_dim", "-1", "key 'head_dim' is -1, expected an integer from 1 to 65536"},
      {"head_dim", "5", "5 elements of each head of 5 would be rotated, expected an even number"},
      {"max_position_embeddings", "0", "key 'max_position_embeddings' is 0, expected"},
      {"max_position_embeddings", "4294967296", "key 'max_position_embeddings' is 4294967296, expected"},
      {"rms_norm_eps", "0", "key 'rms_norm_eps' is 0, expected a number from 1e-30 to 1"},
      {"rms_norm_eps", "null", "key 'rms_norm_eps' is missing"},
      {"rope_theta", "-1", "key 'rope_theta' is -1, expected"},
      {"tie_word_embeddings", "1", "key 'tie_word_embeddings' is 1, expected true or false"},
      {"rope_scaling", "3", "key 'rope_scaling' is 3, expected an object"},
      {"rope_scaling", "{\"rope_type\": \"llama4\"}",
       "rope_type 'llama4', expected default, dynamic, linear, llama3, longrope, yarn; did you mean "
       "'llama3'?"},
      {"rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 0}", "rope_scaling 'factor' is 0"},
      {"rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 8}", "low_freq_factor"},
      {"hidden_act", "\"gelu\"", "key 'hidden_act' is \"gelu\", expected silu"},
      {"attention_bias", "1", "key 'attention_bias' is 1, expected true or false"},
      {"layer_types", "[\"full_attention\"]",
       "key 'layer_types' lists 1 layers, expected the 2 of the model"},
      {"no_rope_layers", "[1, 1, 1]", "key 'no_rope_layers' lists 3 layers, expected the 2 of the model"},
      {"sliding_window_pattern", "[6]", "key 'sliding_window_pattern' lists 1 layers, expected the 2"},
      {"model_type", "\"lama\"", "model_type 'lama' is not built, expected one of"},
      {"model_type", "", "key 'model_type' has nothing"},
      {"model_type", "7", "key 'model_type' has 7"},
  };
  for (const Bad& bad : cases) {
    Json hf = llama();
    hf.erase("architectures");
    if (*bad.value)
      hf[bad.key] = parse_json(bad.value, "test").value();
    else
      hf.erase(bad.key);
    const Result<ModelConfig> result = parse_hf_config(hf, "auto", "config.json");
    ASSERT_FALSE(result.is_ok()) << bad.key << " " << bad.value;
    EXPECT_EQ(result.status().message().rfind("config.json: ", 0), 0u) << result.status().message();
    EXPECT_NE(result.status().message().find(bad.message), std::string::npos) << result.status().message();
  }
}

TEST(ConfigErrors, NearestNames) {
  Json hf = llama();
  hf["model_type"] = "lama";
  // What a file says was written by a program: another model's name, not a misspelling.
  EXPECT_EQ(parse_hf_config(hf, "auto", "c").status().message(),
            "c: model_type 'lama' is not built, expected one of " + join(model_types(), ", "));
  EXPECT_NE(parse_hf_config(hf, "lama", "c").status().message().find("did you mean 'llama'?"),
            std::string::npos);
  EXPECT_EQ(parse_hf_config(hf, "llamma", "c").status().message().rfind("--model-type: ", 0), 0u);
  EXPECT_TRUE(parse_hf_config(hf, "llama", "c").is_ok());
  hf = llama();
  hf["hiden_size"] = 96;
  hf.erase("hidden_size");
  EXPECT_NE(parse_hf_config(hf, "auto", "c").status().message().find("did you mean 'hiden_size'?"),
            std::string::npos);
}

TEST(ConfigErrors, HeadsMustDivideTheHiddenSizeWithoutHeadDim) {
  Json hf = llama();
  hf["head_dim"] = nullptr;
  hf["hidden_size"] = 98;
  const std::string message = parse_hf_config(hf, "auto", "c").status().message();
  EXPECT_NE(message.find("hidden_size 98 is not a multiple of num_attention_heads 4"), std::string::npos)
      << message;
}

TEST(ConfigErrors, OverridesNameTheFlag) {
  for (const ConfigOverrides& bad : {ConfigOverrides{.context_window_size = 0},
                                     {.context_window_size = -5},
                                     {.context_window_size = int64_t{1} << 31}}) {
    ModelConfig config = parsed(llama());
    EXPECT_EQ(apply_overrides(config, bad).message().rfind("--context-window-size is ", 0), 0u);
  }
  ModelConfig config = parsed(llama());
  EXPECT_NE(apply_overrides(config, {.tensor_parallel_shards = 3}).message().find("does not divide"),
            std::string::npos);
  config = parsed(llama());
  EXPECT_NE(
      apply_overrides(config, {.pipeline_parallel_stages = 3}).message().find("expected 1 to the 2 layers"),
      std::string::npos);
}

TEST(ConfigErrors, ContextThatNoFileAndNoFlagStates) {
  Json hf = llama();
  hf.erase("max_position_embeddings");
  ModelConfig config = parsed(hf);
  const std::string message = apply_overrides(config, {}).message();
  EXPECT_EQ(message.rfind("config.json: no context length found", 0), 0u) << message;
  ASSERT_TRUE(apply_overrides(config, {.context_window_size = 64}).is_ok());
  EXPECT_EQ(config.get_int("prefill_chunk_size"), 64);
  Json mlc = read("llama", "mlc-configs.json").at("q4f16_1");
  mlc["context_window_size"] = 0;
  mlc["model_config"]["context_window_size"] = 0;
  EXPECT_FALSE(parse_mlc_config(mlc, "auto", "c").is_ok());
}

TEST(ConfigErrors, NotAnObject) {
  EXPECT_FALSE(parse_hf_config(Json::array(), "llama", "c").is_ok());
  EXPECT_FALSE(parse_mlc_config(Json(3), "llama", "c").is_ok());
  Json mlc = {{"model_type", "llama"}, {"model_config", 3}};
  EXPECT_FALSE(parse_mlc_config(mlc, "auto", "c").is_ok());
}

}  // namespace
}  // namespace mlc::frontend
