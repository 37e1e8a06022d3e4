// What gen_config writes of a tokenizer whose files say different things, and that it reads back as the same
// tokenizer.
#include "weights/tokenizer_files.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/strings.h"
#include "chat/tokenizer/tokenizer.h"
#include "formats/build_files.h"
#include "support/temp_folder.h"
#include "weights/gen_config.h"

namespace mlc::weights {
namespace {

using Ids = std::vector<int32_t>;

constexpr const char* kConfig =
    R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64,
  "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": 5,
  "rms_norm_eps": 1e-6, "max_position_embeddings": 64, "hidden_act": "silu", "tie_word_embeddings": false)";
constexpr const char* kVocab = R"({"a": 0, "b": 1, "#": 2, "ab": 3})";
constexpr const char* kTokenizer =
    R"({"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
  "post_processor": null, "decoder": null, "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "#": 2, "ab": 3},
  "merges": ["a b"]}})";
constexpr const char* kTemplate = "{% for m in messages %}{{ m.content }}{% endfor %}";

class TokenizerFilesTest : public ::testing::Test {
 protected:
  void SetUp() override { from_.write("chat_template.jinja", kTemplate); }
  // `more` are further keys of config.json.
  GeneratedConfig generate(const std::string& more = "") {
    from_.write("config.json", kConfig + more + "}");
    auto source = open_source({.config = from_.path(), .with_checkpoint = false});
    EXPECT_TRUE(source.is_ok()) << source.status().message();
    auto result = generate_config(*source, {.quantization = "q0f32"}, to_.path());
    EXPECT_TRUE(result.is_ok()) << result.status().message();
    return result.is_ok() ? *result : GeneratedConfig{};
  }
  Ids encode(const std::string& text) { return Tokenizer::load(to_.path()).value()->encode(text).value(); }

  testing::TempFolder from_, to_;
};

TEST_F(TokenizerFilesTest, TokensOfTheMapJoinTokenizerJson) {
  from_.write("tokenizer.json", kTokenizer);
  from_.write("special_tokens_map.json",
              R"({"eos_token": "<e>", "pad_token": "<p>", "additional_special_tokens": ["<t>"]})");
  GeneratedConfig generated = generate();
  EXPECT_EQ(encode("ab<e><p><t>"), (Ids{3, 4, 5, 6}));
  EXPECT_EQ(generated.config["tokenizer_files"], Json::array({"tokenizer.json"}));
  EXPECT_EQ(generated.config["active_vocab_size"], 7);
  EXPECT_EQ(generated.config["eos_token_id"], 2);  // what the original writes where nothing is stated
  const Json& talk = generated.config["conv_template"];
  EXPECT_EQ(talk["stop_token_ids"], Json::array({4}));
  EXPECT_EQ(talk["eos_token"], "<e>");
  EXPECT_EQ(talk["special_tokens"], (Json{{"pad_token", "<p>"}, {"additional_special_tokens", {"<t>"}}}));
  ASSERT_FALSE(generated.notes.empty());
  EXPECT_NE(generated.notes.back().find("token '<p>' has id 5, but the model knows ids below 5"),
            std::string::npos)
      << generated.notes.back();
}

TEST_F(TokenizerFilesTest, ACompleteTokenizerKeepsItsBytes) {
  from_.write("tokenizer.json", kTokenizer);
  generate(R"(, "eos_token_id": [2, 3])");
  EXPECT_EQ(read_file(to_.file("tokenizer.json")).value(), kTokenizer);
}

TEST_F(TokenizerFilesTest, ABrokenFileGivesWayToAWholeOne) {
  constexpr const char* kPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
  from_.write("tokenizer.model", kPointer);
  from_.write("tokenizer.json", kTokenizer);
  GeneratedConfig generated = generate();
  EXPECT_EQ(encode("ab#"), (Ids{3, 2}));
  EXPECT_EQ(generated.config["tokenizer_files"], Json::array({"tokenizer.json"}));
  EXPECT_NE(join(generated.notes, "\n").find("tokenizer.model: a Git LFS pointer"), std::string::npos);

  from_.write("tokenizer.json", kPointer);
  auto source = open_source({.config = from_.path(), .with_checkpoint = false});
  const std::string refusal = check_tokenizer(*source).message();
  EXPECT_NE(refusal.find("git lfs pull"), std::string::npos) << refusal;

  from_.write("vocab.json", kVocab);
  from_.write("merges.txt", "a b\n");
  generated = generate();
  EXPECT_EQ(encode("ab#"), (Ids{3, 2}));
  EXPECT_EQ(generated.config["tokenizer_files"], Json::array({"vocab.json", "merges.txt", "tokenizer.json"}));
  EXPECT_NE(join(generated.notes, "\n").find("tokenizer.json: a Git LFS pointer"), std::string::npos);
}

TEST_F(TokenizerFilesTest, VocabAndMergesBecomeOneFile) {
  from_.write("vocab.json", kVocab);
  from_.write("merges.txt", "a b\n");
  from_.write("added_tokens.json", R"({"<e>": 4})");
  from_.write(
      "tokenizer_config.json",
      R"({"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<e>", "unk_token": null, "pad_token": null})");
  GeneratedConfig generated = generate();
  EXPECT_EQ(generated.config["tokenizer_files"].back(), "tokenizer.json");
  EXPECT_EQ(encode("abb<e>"), (Ids{3, 1, 4}));
  Json written = parse_json(read_file(to_.file("tokenizer.json")).value(), "t").value();
  EXPECT_EQ(written["normalizer"]["type"], "NFC");
}

TEST_F(TokenizerFilesTest, EveryStatedEndIdIsKept) {
  from_.write("tokenizer.json", kTokenizer);
  from_.write("generation_config.json", R"({"eos_token_id": [3, 1]})");
  Json talk = generate(R"(, "eos_token_id": 2)").config["conv_template"];
  EXPECT_EQ(talk["stop_token_ids"], (Json::array({3, 1, 2})));
}

TEST_F(TokenizerFilesTest, ACheckNeedsNoWeights) {
  auto check = [&] {
    from_.write("config.json", std::string(kConfig) + "}");
    return check_tokenizer(*open_source({.config = from_.path(), .with_checkpoint = false})).message();
  };
  EXPECT_NE(check().find(": no tokenizer found, expected tokenizer.json"), std::string::npos) << check();
  from_.write("tokenizer.json", "{");
  EXPECT_NE(check().find("tokenizer.json: not valid JSON"), std::string::npos) << check();
  from_.write("tokenizer.json", kTokenizer);
  EXPECT_EQ(check(), "");
}

// A llama of the vocabulary above; `pre` is its kind of pre-tokenizer.
std::string gguf(const std::string& pre) {
  mlc::testing::GgufFile file;
  file.text("general.architecture", "llama");
  for (const char* key : {"block_count", "attention.head_count", "attention.head_count_kv"})
    file.count(std::string("llama.") + key, 1);
  for (const char* key : {"context_length", "embedding_length", "feed_forward_length"})
    file.count(std::string("llama.") + key, 64);
  file.real("llama.attention.layer_norm_rms_epsilon", 1e-6f).real("llama.rope.freq_base", 10000);
  file.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", pre);
  file.texts("tokenizer.ggml.tokens", {"a", "b", "#", "ab"}).texts("tokenizer.ggml.merges", {"a b"});
  file.count("tokenizer.ggml.eos_token_id", 3).count("tokenizer.ggml.eom_token_id", 1);
  file.count("tokenizer.ggml.padding_token_id", 0).count("tokenizer.ggml.mask_token_id", 1);
  file.text("tokenizer.chat_template", kTemplate);
  file.tensor("token_embd.weight", {64, 4}, 0, std::string(1024, 0));
  return file.build();
}

TEST_F(TokenizerFilesTest, AGgufGivesItsIdsAndVariables) {
  from_.write("m.gguf", gguf("gpt-2"));
  auto source = open_source({.config = from_.file("m.gguf")});
  ASSERT_TRUE(source.is_ok()) << source.status().message();
  auto files = read_tokenizer_files(*source);
  ASSERT_TRUE(files.is_ok()) << files.status().message();
  EXPECT_EQ(files->stop_token_ids, (Ids{3, 1}));
  EXPECT_EQ(files->special.variables(), (Json{{"eos_token", "ab"}, {"pad_token", "a"}, {"mask_token", "b"}}));
}

TEST_F(TokenizerFilesTest, ATokenizerJsonBesideAGgufIsTheLastResort) {
  from_.write("m.gguf", gguf("brand-new"));
  auto read = [&] { return read_tokenizer_files(*open_source({.config = from_.file("m.gguf")})); };
  EXPECT_NE(read().status().message().find("put the tokenizer.json of the original model beside the file"),
            std::string::npos);
  from_.write("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {"b": 0}, "merges": []}})");
  EXPECT_NE(read().status().message().find("tokenizer.json: token 0 is 'b', which "), std::string::npos)
      << read().status().message();
  from_.write("tokenizer.json", kTokenizer);
  auto files = read();
  ASSERT_TRUE(files.is_ok()) << files.status().message();
  ASSERT_EQ(files->notes.size(), 1u);
  EXPECT_NE(files->notes[0].find("tokenizer.json is used"), std::string::npos) << files->notes[0];
}

}  // namespace
}  // namespace mlc::weights
