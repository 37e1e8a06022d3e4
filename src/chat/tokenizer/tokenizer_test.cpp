// Tokenizers from every form they are published in, the table of token bytes, and what damaged files get.
#include "chat/tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/strings.h"
#include "chat/tokenizer/byte_level.h"
#include "chat/tokenizer/families.h"
#include "chat/tokenizer/gguf_tokenizer.h"
#include "chat/tokenizer/rwkv.h"
#include "chat/tokenizer/sentencepiece.h"
#include "chat/tokenizer/tokenizer_json.h"
#include "support/temp_folder.h"

namespace mlc {
namespace {

using Ids = std::vector<int32_t>;
const std::string kData = std::string(MLC_SOURCE_DIR) + "/tests/data/chat/tokenizers/";
std::string data(const std::string& name) { return read_file(kData + name).value(); }

TEST(ByteLevel, MapsEveryByteAndBack) {
  std::string all;
  for (int b = 0; b < 256; ++b) all += static_cast<char>(b);
  EXPECT_EQ(printable_to_bytes(bytes_to_printable(all)), all);
  EXPECT_EQ(bytes_to_printable(" a\n"),
            "\xC4\xA0"
            "a\xC4\x8A");
  EXPECT_FALSE(printable_to_bytes("a b"));
}

TEST(ByteLevel, Utf8) {
  EXPECT_EQ(lossy_utf8("a\xC3(\xE2\x82\xF0\x9F\x98\x80"), "a\xEF\xBF\xBD(\xEF\xBF\xBD\xF0\x9F\x98\x80");
  EXPECT_EQ(lossy_utf8("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(whole_characters("ab"), 2u);
  EXPECT_EQ(whole_characters("a\xF0\x9F\x98"), 1u);
  EXPECT_EQ(whole_characters("\xF0\x9F\x98\x80"), 4u);
}

TEST(TokenizerInfo, IsDetectedAsUpstreamDoes) {
  TokenizerInfo llama = detect_tokenizer_info(data("llama.json"), "llama").value();
  EXPECT_EQ(llama, (TokenizerInfo{"byte_fallback", true, true}));
  EXPECT_EQ(
      llama.to_json().dump(),
      R"({"token_postproc_method":"byte_fallback","prepend_space_in_encode":true,"strip_space_in_decode":true})");
  EXPECT_EQ(detect_tokenizer_info(data("llama3_tied.json"), "x").value(),
            (TokenizerInfo{"byte_level", false, false}));
  EXPECT_EQ(detect_tokenizer_info("{}", "x").value(), TokenizerInfo{});
  EXPECT_EQ(token_text_to_bytes("<0x0A>", llama), "\n");
  EXPECT_EQ(token_text_to_bytes("\xE2\x96\x81"
                                "a",
                                llama),
            " a");
  EXPECT_EQ(token_text_to_bytes("\xC4\xA0"
                                "a",
                                TokenizerInfo{"byte_level"}),
            " a");
  EXPECT_EQ(token_text_to_bytes("<|a b|>", TokenizerInfo{"byte_level"}), "<|a b|>");
}

TEST(TokenizerInfo, DuplicateAddedTokensAreRefused) {
  Status status =
      detect_tokenizer_info(R"({"added_tokens": [{"content": "<s>"}, {"content": "<s>"}]})", "t.json")
          .status();
  EXPECT_EQ(status.message(),
            "t.json: added_tokens has '<s>' twice, expected once; delete one of the two entries");
}

TEST(Tokenizer, EncodesDecodesAndLooksUp) {
  auto t = Tokenizer::from_json(data("llama.json"), "llama").value();
  EXPECT_EQ(t->vocab_size(), 500);
  EXPECT_EQ(t->token_count(), 500);
  EXPECT_EQ(t->token_id("</s>"), 2);
  EXPECT_FALSE(t->token_id("no such token"));
  EXPECT_EQ(t->token_text(1), "<s>");
  EXPECT_EQ(t->token_text(-1), "");
  EXPECT_EQ(t->token_kind(1), TokenKind::kSpecial);
  EXPECT_EQ(t->token_bytes()[static_cast<size_t>(*t->token_id("<0x0A>"))], "\n");
  Ids ids = t->encode("Hi</s>").value();
  EXPECT_EQ(ids.back(), 2);
  EXPECT_EQ(t->decode(ids).value(), "Hi</s>");
  EXPECT_EQ(t->decode(ids, /*skip_special=*/true).value(), "Hi");
  EXPECT_EQ(t->encode("a\xFF").value(), t->encode("a\xEF\xBF\xBD").value());
  EXPECT_TRUE(t->encode("").value().empty());
  EXPECT_EQ(t->decode(Ids{100000, -5}).value(), "");
  Ids continued = t->encode_continuation("Hi").value(), alone = t->encode("Hi").value();
  EXPECT_NE(continued, alone);
  EXPECT_EQ(t->token_bytes()[static_cast<size_t>(continued[0])][0], 'H');
}

TEST(Tokenizer, LoadsWhatAFolderHas) {
  testing::TempFolder temp;
  const std::string& folder = temp.path();
  EXPECT_NE(Tokenizer::load(folder).status().message().find("no tokenizer found"), std::string::npos);
  temp.write("tokenizer_model", data("rwkv_tokenizer_model"));
  EXPECT_EQ(Tokenizer::load(folder).value()->encode("\n").value(), Ids{11});
  temp.write("vocab.json", R"({"a": 0, "b": 1, "ab": 2, "c": 3, "Ġ": 4})");
  temp.write("merges.txt", "#version: 0.2\na b\n");
  temp.write("added_tokens.json", R"({"<x>": 5})");
  EXPECT_EQ(Tokenizer::load(folder).value()->encode("abc<x> a").value(), (Ids{2, 3, 5, 4, 0}));
  temp.write("tokenizer.model", data("spm_bpe.model"));
  EXPECT_EQ(Tokenizer::load(folder).value()->token_id("<|im_start|>"), 3);
  temp.write("tokenizer.json", data("llama3_tied.json"));
  EXPECT_EQ(Tokenizer::load(folder + "/tokenizer.json").value()->token_id("<|im_end|>"), 2);
}

TEST(Tokenizer, DamagedFilesGetASentence) {
  auto message = [](std::string_view json) {
    return Tokenizer::from_json(json, "t.json").status().message();
  };
  EXPECT_EQ(message("{\"model\": "), "t.json: not valid JSON; the file is damaged or truncated");
  EXPECT_EQ(message("[]"), "t.json: expected a JSON object, found array");
  EXPECT_EQ(message("{}").find("t.json: not a usable tokenizer"), 0u);
  std::string whole = data("llama.json");
  EXPECT_FALSE(Tokenizer::from_json(whole.substr(0, whole.size() / 2), "t").is_ok());
  std::string spm = data("spm_bpe.model");
  for (size_t size : {size_t{0}, size_t{1}, size_t{100}, spm.size() - 1})
    EXPECT_FALSE(tokenizer_json_from_sentencepiece(std::string_view(spm).substr(0, size), "m").is_ok())
        << size;
  EXPECT_FALSE(tokenizer_json_from_vocab_and_merges("{\"a\": -1}", "", nullptr, false, "v").is_ok());
  EXPECT_FALSE(tokenizer_json_from_vocab_and_merges("{\"a\": 1}", "a", nullptr, false, "v").is_ok());
}

TEST(Rwkv, TheTextFormBecomesTheOriginalsModelFile) {
  RwkvVocabulary vocabulary = read_rwkv_text(data("rwkv_vocab_v20230424.txt"), "rwkv.txt").value();
  EXPECT_EQ(write_rwkv_model(vocabulary), data("rwkv_tokenizer_model"));
  EXPECT_EQ(read_rwkv_model(data("rwkv_tokenizer_model"), "m").value(), vocabulary);
}

TEST(Rwkv, TakesTheLongestToken) {
  std::string text =
      "1 'a' 1\n2 'ab' 2\n3 b'\\xe4\\xbd' 2\n4 \"it's\" 4\n5 '\\u4f60' 3\n6 b'\\xa0' 1\n7 '\\n\\'' 2\n";
  auto t = Tokenizer::from_rwkv(write_rwkv_model(read_rwkv_text(text, "r").value()), "r").value();
  EXPECT_EQ(t->encode("aabit's\xE4\xBD\xA0\n'").value(), (Ids{1, 2, 4, 5, 7}));
  EXPECT_EQ(t->decode(Ids{2, 3, 6, 4}).value(), "ab\xE4\xBD\xA0it's");
  EXPECT_EQ(t->decode(Ids{3}).value(), "\xEF\xBF\xBD");
  EXPECT_EQ(t->token_bytes()[3], "\xE4\xBD");
  EXPECT_EQ(read_rwkv_json(R"({"a": 1, "ab": 2})", "j").value(), (RwkvVocabulary{{1, "a"}, {2, "ab"}}));
}

TEST(Rwkv, DamagedVocabulariesGetASentence) {
  for (const char* bad : {"x 'a' 1", "1 'a' 2", "1 a 1", "1 'a", "1 'a' 1\n1 'b' 1", "1 '\\x' 1",
                          "1 __import__('os') 1", "1 'a' + 'b' 2", ""})
    EXPECT_FALSE(read_rwkv_text(bad, "r.txt").is_ok()) << bad;
  EXPECT_EQ(read_rwkv_text("1 'a' 2\n", "r.txt").status().message(),
            "r.txt: line 1 is '1 'a' 2', expected a new '<id> <literal> <byte length>' whose length fits");
  std::string model = data("rwkv_tokenizer_model");
  for (size_t size : {size_t{0}, size_t{2}, size_t{50}, model.size() - 1})
    EXPECT_FALSE(read_rwkv_model(std::string_view(model).substr(0, size), "m").is_ok()) << size;
  EXPECT_FALSE(read_rwkv_model(model + "x", "m").is_ok());
  EXPECT_FALSE(read_rwkv_model("\xDF\xFF\xFF\xFF\xFF", "m").is_ok());
}

TEST(Tiktoken, RanksBecomeMerges) {
  std::string text;
  for (int b = 0; b < 256; ++b)
    text += encode_base64(std::string(1, static_cast<char>(b))) + str(" ", b, "\n");
  int rank = 256;
  for (const char* token : {"lo", "low", "er", " low", "ower", "\xE4\xBD\xA0"})
    text += encode_base64(token) + str(" ", rank++, "\n");
  std::string json = tokenizer_json_from_tiktoken(text, {{300, "<|end|>", true}}, "", "t.tiktoken").value();
  auto t = Tokenizer::from_json(json, "t").value();
  EXPECT_EQ(t->encode("low lower<|end|>").value(), (Ids{257, 259, 258, 300}));
  EXPECT_EQ(t->encode("\xE4\xBD\xA0").value(), Ids{261});  // a whole word is looked up before merging
  EXPECT_EQ(t->decode(Ids{259, 258}).value(), " lower");
  EXPECT_EQ(decode_base64("aGk=", "x").value(), "hi");
  EXPECT_FALSE(tokenizer_json_from_tiktoken("!!! 1", {}, "", "t").is_ok());
  EXPECT_FALSE(tokenizer_json_from_tiktoken("aGk= x", {}, "", "t").is_ok());
  EXPECT_FALSE(tokenizer_json_from_tiktoken("aGk= 1\naGk= 2", {}, "", "t").is_ok());
}

TEST(Gguf, EveryPreTokenizerKindLoads) {
  for (const std::string& pre : known_pre_tokenizers()) {
    GgufVocabulary source{.model = "gpt2", .pre = pre, .tokens = {"a", "1", "\xC4\xA0"}};
    std::string json = tokenizer_json_from_gguf(source, pre).value();
    auto t = Tokenizer::from_json(json, pre);
    ASSERT_TRUE(t.is_ok()) << t.status().message();
    EXPECT_EQ((*t)->encode("a 11a").value(), (Ids{0, 2, 1, 1, 0})) << pre;
  }
}

TEST(Gguf, SentencePieceMetadata) {
  GgufVocabulary source{.model = "llama",
                        .tokens = {"<unk>", "<0x0A>", "\xE2\x96\x81", "a", "b",
                                   "\xE2\x96\x81"
                                   "a",
                                   "ab"},
                        .scores = {0, 0, -3, -4, -5, -2, -1},
                        .types = {2, 6, 1, 1, 1, 1, 1}};
  auto t = Tokenizer::from_json(tokenizer_json_from_gguf(source, "g").value(), "g").value();
  EXPECT_EQ(t->encode("ab\n").value(), (Ids{2, 6, 1}));
  EXPECT_TRUE(t->info().prepend_space_in_encode);
  source.add_space_prefix = false;
  t = Tokenizer::from_json(tokenizer_json_from_gguf(source, "g").value(), "g").value();
  EXPECT_EQ(t->encode(" a").value(), Ids{5});
  EXPECT_FALSE(t->info().strip_space_in_decode);
}

TEST(Gguf, EndTokensWrittenAsOrdinaryOnesAreControlTokens) {
  GgufVocabulary source{.model = "gpt2", .pre = "gpt-2", .tokens = {"a", "<|im_end|>", "<", "|", ">"}};
  auto t = Tokenizer::from_json(tokenizer_json_from_gguf(source, "g").value(), "g").value();
  EXPECT_EQ(t->token_kind(1), TokenKind::kSpecial);
  EXPECT_EQ(t->encode("a<|im_end|>").value(), (Ids{0, 1}));
}

TEST(Gguf, DamagedMetadataGetsASentence) {
  auto message = [](const GgufVocabulary& source) {
    return tokenizer_json_from_gguf(source, "m.gguf").status().message();
  };
  EXPECT_NE(message({.model = "gpt2", .pre = "smolm", .tokens = {"a"}}).find("did you mean 'smollm'"),
            std::string::npos);
  EXPECT_EQ(message({.model = "gpt2", .tokens = {"a", "a"}}),
            "m.gguf: tokenizer.ggml.tokens has 'a' twice; the file is damaged");
  EXPECT_EQ(message({.model = "llama", .tokens = {"a"}}),
            "m.gguf: tokenizer.ggml.scores has 0 entries, expected 1 (one per token); the file is damaged");
  EXPECT_FALSE(message({.model = "gpt2", .tokens = {"a"}, .types = {1, 1}}).empty());
  EXPECT_FALSE(message({.model = "gpt2", .tokens = {"a"}, .merges = {"a"}}).empty());
  EXPECT_FALSE(message({.model = "gpt2"}).empty());
  EXPECT_FALSE(message({.model = "bert", .tokens = {"a"}}).empty());
}

}  // namespace
}  // namespace mlc
