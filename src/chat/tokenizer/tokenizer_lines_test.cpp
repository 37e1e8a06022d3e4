// Ids of 10,000 generated lines (code, emoji, CJK, broken UTF-8, special tokens) against the reference
// libraries, whose results tests/data/chat/make_tokenizer_lines.py has recorded.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/strings.h"
#include "chat/tokenizer/byte_level.h"
#include "chat/tokenizer/gguf_tokenizer.h"
#include "chat/tokenizer/sentencepiece.h"
#include "chat/tokenizer/tokenizer.h"

namespace mlc {
namespace {

constexpr int kLines = 10000, kBlock = 100;
const std::string kData = std::string(MLC_SOURCE_DIR) + "/tests/data/chat/";

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2654435761u + 12345) {}
  uint64_t below(uint64_t count) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % count;
  }

 private:
  uint64_t state_;
};

std::string unhex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return out;
}

// The generator of make_tokenizer_lines.py.
std::string make_line(int index, const Json& fragments) {
  Random random(static_cast<uint64_t>(index));
  std::string out;
  auto pick = [&](const char* list) {
    return fragments[list][random.below(fragments[list].size())].get<std::string>();
  };
  for (uint64_t parts = 1 + random.below(12); parts > 0; --parts) {
    uint64_t kind = random.below(16);
    if (kind < 11) {
      out += pick("text");
    } else if (kind < 13) {
      out += pick("special");
    } else if (kind == 13) {
      out += unhex(pick("broken"));
    } else if (kind == 14) {
      uint64_t code = random.below(0x110000);
      append_utf8(code >= 0xD800 && code < 0xE000 ? 0x41 : static_cast<uint32_t>(code), out);
    } else {
      for (uint64_t n = 1 + random.below(8); n > 0; --n) out += static_cast<char>(0x20 + random.below(95));
    }
    constexpr const char* kBetween[] = {"", " ", " ", ""};
    out += kBetween[random.below(4)];
  }
  return out;
}

uint64_t fnv(std::string_view bytes, uint64_t value) {
  for (char c : bytes) value = (value ^ static_cast<uint8_t>(c)) * 0x100000001B3u;
  return value;
}
constexpr uint64_t kFnvStart = 0xCBF29CE484222325u;

std::string hex16(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string without_control(std::string text) {
  for (const std::string& control :
       {std::string("<unk>"), std::string("</s>"), std::string("<s>"), std::string("<|im_start|>"),
        std::string(1, '\0'), std::string("\xE2\x96\x81"), std::string("\xE1\xBA\x9B\xCC\xA3"),
        std::string("\xE2\x80\x8D")})
    for (size_t at = 0; (at = text.find(control, at)) != std::string::npos;) text.erase(at, control.size());
  return text;
}

const Json& fragments() {
  static const Json kFragments = read_json_file(kData + "line_fragments.json").value();
  return kFragments;
}
const Json& expected() {
  static const Json kExpected = read_json_file(kData + "tokenizer_lines.json").value();
  return kExpected;
}

// Compares all lines; the first block that differs is reported with its line range.
void check(const std::string& name, const Tokenizer& tokenizer, bool drop_control) {
  const Json& want = expected()[name];
  uint64_t value = kFnvStart;
  for (int i = 0; i < kLines; ++i) {
    std::string line = make_line(i, fragments());
    if (drop_control) line = without_control(lossy_utf8(line));
    Result<std::vector<int32_t>> ids = tokenizer.encode(line);
    ASSERT_TRUE(ids.is_ok()) << ids.status().message();
    if (static_cast<size_t>(i) < want["first"].size()) {
      ASSERT_EQ(*ids, want["first"][static_cast<size_t>(i)].get<std::vector<int32_t>>())
          << name << ", line " << i;
    }
    for (int32_t id : *ids) value = fnv(std::string_view(reinterpret_cast<const char*>(&id), 4), value);
    value = fnv("\xFF\xFF\xFF\xFF", value);
    if (i % kBlock != kBlock - 1) continue;
    ASSERT_EQ(hex16(value), want["blocks"][static_cast<size_t>(i / kBlock)].get<std::string>())
        << name << ", lines " << i - kBlock + 1 << " to " << i;
    value = kFnvStart;
  }
}

std::shared_ptr<const Tokenizer> from_file(const std::string& name) {
  return Tokenizer::from_json(read_file(kData + "tokenizers/" + name).value(), name).value();
}

std::shared_ptr<const Tokenizer> from_spm(const std::string& name) {
  std::string json =
      tokenizer_json_from_sentencepiece(read_file(kData + "tokenizers/" + name).value(), name).value();
  return Tokenizer::from_json(json, name).value();
}

TEST(TokenizerLines, TheGeneratorIsTheOneTheExpectationsWereMadeWith) {
  uint64_t value = kFnvStart;
  for (int i = 0; i < kLines; ++i)
    value = fnv(std::string_view("\0", 1), fnv(make_line(i, fragments()), value));
  EXPECT_EQ(hex16(value), expected()["lines"].get<std::string>());
}

TEST(TokenizerLines, SentencePieceStyleJson) { check("llama", *from_file("llama.json"), false); }

TEST(TokenizerLines, ByteLevelJson) { check("llama3_tied", *from_file("llama3_tied.json"), false); }

TEST(TokenizerLines, SmolLM2FromGgufMetadata) {
  Json data = read_json_file(kData + "tokenizers/smollm2_vocabulary.json").value();
  GgufVocabulary source{.model = "gpt2", .pre = "smollm"};
  source.tokens = data["special"].get<std::vector<std::string>>();
  source.types.assign(source.tokens.size(), 3);
  std::string alphabet = data["alphabet"];
  for (size_t at = 0; at < alphabet.size();) {
    size_t start = at;
    next_code_point(alphabet, at);
    source.tokens.push_back(alphabet.substr(start, at - start));
  }
  source.merges = data["merges"].get<std::vector<std::string>>();
  for (const std::string& merge : source.merges) {
    size_t space = merge.find(' ');
    source.tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  source.types.resize(source.tokens.size(), 1);
  auto tokenizer =
      Tokenizer::from_json(tokenizer_json_from_gguf(source, "SmolLM2").value(), "SmolLM2").value();
  EXPECT_EQ(tokenizer->vocab_size(), 49152);
  EXPECT_EQ(tokenizer->token_kind(2), TokenKind::kSpecial);
  EXPECT_EQ(tokenizer->info().token_postproc_method, "byte_level");
  check("smollm2", *tokenizer, false);
}

TEST(TokenizerLines, SentencePieceBpeModel) { check("spm_bpe", *from_spm("spm_bpe.model"), true); }

TEST(TokenizerLines, SentencePieceUnigramModelWithCharacterMap) {
  check("spm_unigram", *from_spm("spm_unigram.model"), true);
}

}  // namespace
}  // namespace mlc
