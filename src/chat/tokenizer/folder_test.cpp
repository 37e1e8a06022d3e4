// Tokenizers of folders whose files say different things. Right values: AutoTokenizer.from_pretrained(folder)
// of transformers 5.24.0 on the same files, encode(text, add_special_tokens=False), special_tokens_map and
// len().
#include "chat/tokenizer/folder.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/strings.h"
#include "support/temp_folder.h"

namespace mlc {
namespace {

using Ids = std::vector<int32_t>;
using Files = std::vector<std::pair<std::string, std::string>>;

constexpr const char* kVocab =
    R"({"a":0,"b":1,"ab":2,"c":3,"Ġ":4,"e":5,"Ì":6,"ģ":7,"1":8,"2":9,"12":10,"Ã":11,"©":12,"<x>":13,"Ċ":14,"Ã©":15})";
constexpr const char* kMerges = "#version: 0.2\na b\n1 2\nÃ ©\n";

std::string tokenizer_json(const std::string& added) {
  const std::string bytes =
      R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
  return str(R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":)", added,
             R"(,"normalizer":null,)", R"("pre_tokenizer":)", bytes, R"(,"post_processor":null,"decoder":)",
             bytes, R"(,"model":{"type":"BPE","vocab":)", kVocab, R"(,"merges":["a b","1 2","Ã ©"]}})");
}
const std::string kOne = R"([{"id":16,"content":"<e>","single_word":false,"lstrip":false,"rstrip":false,)"
                         R"("normalized":false,"special":true}])";

Result<FolderTokenizer> read(const Files& files) {
  testing::TempFolder temp;
  for (const auto& [name, text] : files) temp.write(name, text);
  return read_folder_tokenizer(temp.path());
}

Files vocab_and(const Files& more) {
  Files files = {{"vocab.json", kVocab}, {"merges.txt", kMerges}};
  files.insert(files.end(), more.begin(), more.end());
  return files;
}

Ids ids(const Result<FolderTokenizer>& read, std::string_view text) {
  if (!read.is_ok()) return ADD_FAILURE() << read.status().message(), Ids{};
  return read->tokenizer->encode(text).value();
}

Json variables(const Result<FolderTokenizer>& read) {
  return read.is_ok() ? read->tokenizer->special().variables() : Json(read.status().message());
}

TEST(FolderTokenizer, TheDecoderAddsToTheVocabulary) {
  auto t = read(
      {{"tokenizer.json", tokenizer_json(kOne)},
       {"tokenizer_config.json", R"({"added_tokens_decoder": {"16": {"content": "<e>", "special": true}, "17":
                   {"content": "<s>", "lstrip": true, "special": true}, "18": {"content": "<u>", "special": false}}})"}});
  EXPECT_EQ(ids(t, "a <s>b<u><e>"), (Ids{0, 17, 1, 18, 16}));
  EXPECT_EQ(t->tokenizer->token_count(), 19);
  EXPECT_EQ(t->tokenizer->token_kind(17), TokenKind::kSpecial);
  EXPECT_EQ(t->tokenizer->token_kind(18), TokenKind::kAdded);
  EXPECT_TRUE(t->notes.empty());
  // What is written for a converted folder says it all.
  auto again = Tokenizer::from_json(t->json, "t").value();
  EXPECT_EQ(again->encode("a <s>b<u><e>").value(), (Ids{0, 17, 1, 18, 16}));
}

TEST(FolderTokenizer, WhatIsCompleteKeepsItsBytes) {
  std::string json = tokenizer_json(kOne);
  auto t = read(
      {{"tokenizer.json", json},
       {"tokenizer_config.json", R"({"eos_token": "<e>", "added_tokens_decoder": {"16": {"content": "<e>",
                   "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}}})"}});
  ASSERT_TRUE(t.is_ok());
  EXPECT_EQ(t->json, json);
  EXPECT_EQ(variables(t), (Json{{"eos_token", "<e>"}}));
}

TEST(FolderTokenizer, TheDecodersFlagsWin) {
  std::string strips = kOne;
  strips.replace(strips.find("\"lstrip\":false"), 14, "\"lstrip\":true");
  auto t =
      read({{"tokenizer.json", tokenizer_json(strips)},
            {"tokenizer_config.json",
             R"({"added_tokens_decoder": {"16": {"content": "<e>", "rstrip": true, "special": true}}})"}});
  EXPECT_EQ(ids(t, "a <e> b"), (Ids{0, 4, 16, 1}));
}

TEST(FolderTokenizer, IdsFollowTheOrder) {
  auto t =
      read({{"tokenizer.json", tokenizer_json(kOne)},
            {"tokenizer_config.json", R"({"added_tokens_decoder": {"16": {"content": "<f>", "special": true},
                   "40": {"content": "<g>", "special": true}, "20": {"content": "<h>", "special": true}}})"}});
  EXPECT_EQ(ids(t, "<e><f><g><h>"), (Ids{16, 17, 19, 18}));
  ASSERT_EQ(t->notes.size(), 1u);
  EXPECT_NE(t->notes[0].find("'<f>' as id 16, in the vocabulary it is 17 (and 2 more so)"), std::string::npos)
      << t->notes[0];
}

TEST(FolderTokenizer, TheMapWinsWhereThereIsNoDecoder) {
  auto t = read(
      {{"tokenizer.json", tokenizer_json("[]")},
       {"tokenizer_config.json", R"({"eos_token": "<e>", "pad_token": "<p>"})"},
       {"special_tokens_map.json", R"({"eos_token": {"content": "<f>", "rstrip": true, "normalized": false},
                   "bos_token": "<s>", "additional_special_tokens": ["<t>"]})"}});
  EXPECT_EQ(ids(t, "<f> <s><p><t>"), (Ids{17, 16, 18, 19}));
  EXPECT_EQ(variables(t), (Json{{"bos_token", "<s>"},
                                {"eos_token", "<f>"},
                                {"pad_token", "<p>"},
                                {"additional_special_tokens", {"<t>"}}}));
}

TEST(FolderTokenizer, AMapThatADecoderMakesUnreadIsNoted) {
  auto t = read({{"tokenizer.json", tokenizer_json(kOne)},
                 {"tokenizer_config.json", R"({"eos_token": "<e>", "added_tokens_decoder": {}})"},
                 {"special_tokens_map.json", R"({"eos_token": "<f>"})"}});
  EXPECT_EQ(variables(t), (Json{{"eos_token", "<e>"}}));
  ASSERT_EQ(t->notes.size(), 1u);
  EXPECT_NE(t->notes[0].find("special_tokens_map.json: its eos_token '<f>' is not used"), std::string::npos)
      << t->notes[0];
}

TEST(FolderTokenizer, NamedTokensJoinTheVocabulary) {
  auto t = read({{"tokenizer.json", tokenizer_json("[]")},
                 {"tokenizer_config.json",
                  R"({"bos_token": "<x>", "eos_token": {"__type": "AddedToken", "content": "<e>",
                   "lstrip": true}, "image_token": "<i>", "additional_special_tokens": ["<t>", {"content": "<u>"}],
                   "unk_token": null})"}});
  EXPECT_EQ(ids(t, "a <e><x><i><t><u>"), (Ids{0, 16, 13, 17, 18, 19}));
  EXPECT_EQ(variables(t).dump(), R"({"bos_token":"<x>","eos_token":"<e>","image_token":"<i>",)"
                                 R"("additional_special_tokens":["<t>","<u>"]})");
}

TEST(FolderTokenizer, AddedTokensBesideVocabAndMerges) {
  auto t = read(
      vocab_and({{"added_tokens.json", R"({"<e>": 16, "<u>": 17})"},
                 {"tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer", "eos_token": "<e>"})"}}));
  EXPECT_EQ(ids(t, "a<u>b<e> é e\xCC\x81 12"), (Ids{0, 17, 1, 16, 4, 15, 4, 5, 6, 7, 4, 10}));
  EXPECT_EQ(t->tokenizer->token_kind(16), TokenKind::kSpecial);
  EXPECT_EQ(t->tokenizer->token_kind(17), TokenKind::kAdded);
  EXPECT_EQ(t->tokenizer->token_id("<|endoftext|>"), 18);
}

TEST(FolderTokenizer, FamiliesOfVocabAndMerges) {
  const std::string text = "e\xCC\x81 12<|endoftext|>a", end = R"({"<|endoftext|>": 16})";
  auto qwen = read(vocab_and({{"tokenizer_config.json", R"({"tokenizer_class": "Qwen2TokenizerFast"})"}}));
  EXPECT_EQ(ids(qwen, text), (Ids{15, 4, 8, 9, 16, 0}));
  EXPECT_EQ(ids(qwen, "ab\n\n"), (Ids{2, 14, 14}));
  EXPECT_EQ(
      variables(qwen),
      (Json{{"eos_token", "<|endoftext|>"}, {"unk_token", "<|endoftext|>"}, {"pad_token", "<|endoftext|>"}}));
  auto by_type = read(vocab_and({{"config.json", R"({"model_type": "qwen3"})"}, {"added_tokens.json", end}}));
  EXPECT_EQ(ids(by_type, text), (Ids{15, 4, 8, 9, 16, 0}));
  auto wrong_class = read(vocab_and({{"config.json", R"({"model_type": "qwen2"})"},
                                     {"tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer"})"}}));
  EXPECT_EQ(ids(wrong_class, text), (Ids{15, 4, 8, 9, 16, 0}));
  auto neox = read(vocab_and(
      {{"tokenizer_config.json", R"({"tokenizer_class": "GPTNeoXTokenizer", "add_prefix_space": true})"}}));
  EXPECT_EQ(ids(neox, text), (Ids{4, 15, 4, 10, 16, 4, 0}));
  EXPECT_EQ(neox->tokenizer->token_id("<|padding|>"), 17);
  auto silenced =
      read(vocab_and({{"tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer", "bos_token": null,
                                                              "pad_token": "<x>"})"}}));
  EXPECT_EQ(ids(silenced, "a<x>b<|endoftext|>"), (Ids{0, 13, 1, 16}));
  EXPECT_FALSE(variables(silenced).contains("bos_token"));
  EXPECT_EQ(ids(read(vocab_and({})), "e\xCC\x81 12"),
            (Ids{5, 6, 7, 4, 10}));  // nothing is known: GPT-2's rules
}

TEST(FolderTokenizer, AddedTokensBesideASentencePieceModel) {
  std::string model =
      read_file(std::string(MLC_SOURCE_DIR) + "/tests/data/chat/tokenizers/spm_bpe.model").value();
  auto with = [&](const std::string& config) {
    return read({{"tokenizer.model", model},
                 {"added_tokens.json", R"({"<new>": 900})"},
                 {"tokenizer_config.json", config}});
  };
  auto old = with(R"({"tokenizer_class": "LlamaTokenizer", "legacy": true})");
  EXPECT_EQ(ids(old, "<new>user<new>"), (Ids{900, 324, 900}));
  EXPECT_EQ(ids(old, "the"), Ids{325});
  auto current = with(R"({"tokenizer_class": "LlamaTokenizer", "legacy": false})");
  EXPECT_EQ(ids(current, "<new>user<new>"), (Ids{900, 289, 900}));  // no space behind a token
  EXPECT_EQ(ids(current, "the"), Ids{325});
  auto mapped = read({{"tokenizer.model", model},
                      {"special_tokens_map.json", R"({"eos_token": "<new>", "pad_token": "<pad>"})"}});
  EXPECT_EQ(ids(mapped, "the<new><pad>"), (Ids{325, 900, 901}));
  EXPECT_EQ(
      variables(mapped),
      (Json{{"bos_token", "<s>"}, {"eos_token", "<new>"}, {"unk_token", "<unk>"}, {"pad_token", "<pad>"}}));
}

TEST(FolderTokenizer, ATokenizerModelOfTiktokenIsRead) {
  auto t = read(
      {{"tokenizer.model", "YQ== 0\nYg== 1\nYWI= 2\n"},
       {"tokenizer_config.json", R"({"added_tokens_decoder": {"3": {"content": "<e>", "special": true}}})"}});
  EXPECT_EQ(ids(t, "aab<e>b"), (Ids{0, 2, 3, 1}));
}

TEST(FolderTokenizer, ABrokenVocabularyBesideAWholeOneIsNoted) {
  auto t = read(vocab_and({{"tokenizer.json", "{\"version\": "}}));
  EXPECT_EQ(ids(t, "ab"), Ids{2});
  ASSERT_EQ(t->notes.size(), 1u);
  EXPECT_NE(t->notes[0].find("tokenizer.json: not valid JSON"), std::string::npos) << t->notes[0];
  EXPECT_NE(t->notes[0].find("vocab.json is read instead"), std::string::npos) << t->notes[0];
}

TEST(FolderTokenizer, DamagedSideFilesGetASentence) {
  auto message = [](const std::string& name, const std::string& text) {
    auto t = read({{"tokenizer.json", tokenizer_json("[]")}, {name, text}});
    std::string sentence = t.is_ok() ? "read" : t.status().message();
    return sentence.substr(std::min(sentence.rfind('/') + 1, sentence.size()));
  };
  const std::string config = "tokenizer_config.json";
  EXPECT_EQ(message(config, "[1]"), config + ": found array, expected a JSON object");
  EXPECT_EQ(message(config, "{"), config + ": not valid JSON; the file is damaged or truncated");
  EXPECT_EQ(message(config, ""), config + ": the file is empty; copy it again from the model's source");
  EXPECT_EQ(message(config, R"({"eos_token": 2})"),
            config + ": 'eos_token' has 2, expected a token's text or an object with 'content'");
  EXPECT_EQ(message(config, R"({"added_tokens_decoder": []})"),
            config + ": 'added_tokens_decoder' has [], expected an object {id: token}");
  EXPECT_EQ(message(config, R"({"added_tokens_decoder": {"x": {"content": "a"}}})"),
            config + ": added_tokens_decoder has the key 'x', expected a token id");
  EXPECT_EQ(message(config, R"({"added_tokens_decoder": {"1": "a"}})"),
            config + ": 'added_tokens_decoder.1' has \"a\", expected an object with 'content'");
  EXPECT_EQ(message(config, R"({"added_tokens_decoder": {"1": {"content": "a", "special": 1}}})"),
            config + ": 'added_tokens_decoder.1.special' has 1, expected true or false");
  EXPECT_EQ(message(config, R"({"additional_special_tokens": "a"})"),
            config + ": 'additional_special_tokens' has \"a\", expected a list of tokens");
  EXPECT_EQ(
      message("special_tokens_map.json", R"({"pad_token": {"text": "a"}})"),
      R"(special_tokens_map.json: 'pad_token' has {"text":"a"}, expected a token's text or an object with 'content')");
  EXPECT_EQ(message("added_tokens.json", R"({"<a>": "1"})"),
            "added_tokens.json: '<a>' has \"1\", expected a token id");
  EXPECT_EQ(message("added_tokens.json", R"({"<a>": -1})"),
            "added_tokens.json: '<a>' has -1, expected a token id");
}

}  // namespace
}  // namespace mlc
