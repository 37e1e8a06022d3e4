// Streaming detokenizer and stop strings: characters cut by tokens, emoji, byte fallback, stop strings across
// tokens.
#include "chat/stream.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/file.h"
#include "base/strings.h"
#include "chat/tokenizer/tokenizer_json.h"

namespace mlc {
namespace {

const std::string kData = std::string(MLC_SOURCE_DIR) + "/tests/data/chat/";
using Tokens = std::shared_ptr<const Tokenizer>;

// Byte-fallback tokenizer whose token of byte b is id b, and words from id 256 on.
Tokens byte_tokenizer(const std::vector<std::string>& words) {
  TokenizerParts parts;
  constexpr char kHex[] = "0123456789ABCDEF";
  for (int b = 0; b < 256; ++b) parts.vocab.emplace_back(str("<0x", kHex[b / 16], kHex[b % 16], ">"), b);
  for (const std::string& word : words)
    parts.vocab.emplace_back(word, static_cast<int32_t>(parts.vocab.size()));
  parts.decoder = sentencepiece_decoder(/*prefix_space=*/true);
  parts.byte_fallback = true;
  return Tokenizer::from_json(write_tokenizer_json(parts), "bytes").value();
}

std::string stream(const Tokens& tokenizer, const std::vector<int32_t>& ids) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (int32_t id : ids) text += decoder.put(id).value();
  return text + decoder.finish().value();
}

std::vector<int32_t> bytes_of(std::string_view text) {
  std::vector<int32_t> ids;
  for (char c : text) ids.push_back(static_cast<uint8_t>(c));
  return ids;
}

TEST(StreamDecoder, ShowsACharacterWhenItsLastByteComes) {
  StreamDecoder decoder(byte_tokenizer({"\xE2\x96\x81Hi"}));
  EXPECT_EQ(decoder.put(256).value(), "Hi");
  for (int32_t b : {0xF0, 0x9F, 0x91}) EXPECT_EQ(decoder.put(b).value(), "");
  EXPECT_EQ(decoder.put(0x80).value(), "\xF0\x9F\x91\x80");
  EXPECT_EQ(decoder.put(256).value(), " Hi");
  EXPECT_EQ(decoder.put(0xC3).value(), "");
  EXPECT_EQ(decoder.finish().value(), "\xEF\xBF\xBD");
}

TEST(StreamDecoder, HoldsNoMoreThanThreeTokens) {
  StreamDecoder decoder(byte_tokenizer({}));
  std::string text;
  for (int i = 0; i < 8; ++i) text += decoder.put(0x80).value();  // never valid
  EXPECT_GE(text.size(), 5 * 3u);
}

// A text in the ids of Llama-2's vocabulary, and cut emoji with the outcomes that MLC LLM accepts.
TEST(StreamDecoder, Llama2Stream) {
  Json data = read_json_file(kData + "llama2_stream.json").value();
  TokenizerParts parts;
  for (const auto& piece : data["pieces"])
    parts.vocab.emplace_back(piece[1].get<std::string>(), piece[0].get<int32_t>());
  parts.decoder = sentencepiece_decoder(/*prefix_space=*/true);
  parts.byte_fallback = true;
  Tokens tokenizer = Tokenizer::from_json(write_tokenizer_json(parts), "llama2").value();
  std::vector<int32_t> ids = data["ids"].get<std::vector<int32_t>>();
  std::string text = data["text"];
  EXPECT_EQ(stream(tokenizer, ids), text);
  for (const Json& hard : data["hard"]) {
    std::string got = stream(tokenizer, hard["ids"].get<std::vector<int32_t>>());
    std::vector<std::string> accepted = hard["texts"].get<std::vector<std::string>>();
    EXPECT_NE(std::find(accepted.begin(), accepted.end(), got), accepted.end()) << got;
  }
  auto until = [&](const std::string& stop, size_t count) {
    TextStream output(tokenizer, {stop});
    std::string result;
    for (size_t i = 0; i < count && !output.stopped(); ++i) result += output.put(ids[i]).value();
    return output.stopped() ? result : result + output.finish().value();
  };
  const std::string thinking = " \xF0\x9F\xA4\x94";
  EXPECT_EQ(until(thinking, ids.size()), text.substr(0, text.find(thinking)));
  EXPECT_EQ(until("^^", ids.size()), text);
  EXPECT_EQ(until("\n\n\n", 4), text.substr(0, text.find("\n\n") + 2));
}

TEST(StreamDecoder, StreamEqualsDecodingAtOnce) {
  for (const char* name : {"llama.json", "llama3_tied.json"}) {
    Tokens tokenizer = Tokenizer::from_json(read_file(kData + "tokenizers/" + name).value(), name).value();
    for (const char* text :
         {"Hello, w\xC3\xB6rld! \xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9 ok", "  two spaces\n\n\tcode {}",
          "\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C", "\xEF\xBF\xBD real replacement"}) {
      std::vector<int32_t> ids = tokenizer->encode(text).value();
      EXPECT_EQ(stream(tokenizer, ids), tokenizer->decode(ids).value()) << name;
      EXPECT_EQ(stream(tokenizer, ids), text) << name;
    }
  }
}

TEST(StopStrings, TextBeforeTheStopStringComesOutAndNothingAfter) {
  Tokens tokenizer =
      byte_tokenizer({"\xE2\x96\x81"
                      "foo",
                      "EN", "D", "bar", "xEND"});
  TextStream output(tokenizer, {"END"});
  EXPECT_EQ(output.put(256).value(), "foo");
  EXPECT_EQ(output.put(257).value(), "");  // "EN" may become END
  EXPECT_EQ(output.put(259).value(), "ENbar");
  EXPECT_EQ(output.put(257).value(), "");
  EXPECT_FALSE(output.stopped());
  EXPECT_EQ(output.put(258).value(), "");
  EXPECT_TRUE(output.stopped());
  EXPECT_EQ(output.put(259).value(), "");

  TextStream inside(tokenizer, {"END"});
  EXPECT_EQ(inside.put(260).value(), "x");  // the stop string starts inside a token
  EXPECT_TRUE(inside.stopped());
}

TEST(StopStrings, MatchesStartAnywhereAndTheEarliestWins) {
  Tokens tokenizer = byte_tokenizer({});
  auto run = [&](std::string_view text, const std::vector<std::string>& stops) {
    TextStream output(tokenizer, stops);
    std::string result;
    for (int32_t id : bytes_of(text)) result += output.put(id).value();
    return result + (output.stopped() ? "|" : output.finish().value());
  };
  EXPECT_EQ(run("xaabaabaaaby", {"aabaaab"}), "xaab|");  // falls back to a shorter match
  EXPECT_EQ(run("abcabcd", {"abcd", "cab"}), "ab|");
  EXPECT_EQ(run("one two", {"o t", "two"}), "one |");
  EXPECT_EQ(run("\xC3\xA9tude\xC3\xA9!", {"e\xC3\xA9"}), "\xC3\xA9tud|");
  EXPECT_EQ(run("no stop", {""}), "no stop");
  EXPECT_EQ(run("almost EN", {"END"}), "almost EN");
  EXPECT_EQ(run("\xC3\xA9", {"\xA9"}), "\xEF\xBF\xBD|");  // a stop string that cuts a character
}

TEST(StopStrings, TheMatcherHandsBackIds) {
  std::vector<std::string> bytes = {"ab", "c", "", "abcabd"};
  StopMatcher matcher({"abd"}, &bytes);
  EXPECT_TRUE(matcher.put(0).empty());
  EXPECT_TRUE(matcher.put(2).empty());  // no bytes: decides nothing
  EXPECT_EQ(matcher.put(1), (std::vector<int32_t>{0, 2, 1}));
  EXPECT_TRUE(matcher.put(0).empty());
  EXPECT_EQ(matcher.finish(), (std::vector<int32_t>{0}));
  EXPECT_TRUE(matcher.put(3).empty());
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.cut_bytes(), "abc");
}

}  // namespace
}  // namespace mlc
