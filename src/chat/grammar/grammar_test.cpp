// Masks of grammars over a vocabulary of single bytes and a few longer tokens, and what a bad grammar gets.
#include "chat/grammar/grammar.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "chat/grammar/gbnf.h"

namespace mlc {
namespace {

// Ids 1 to 256 are the bytes, 257 is `{"a`, 258 is `true`.
std::shared_ptr<const Tokenizer> byte_tokenizer() {
  auto number = [](int n) {
    return std::string("\xcd", 1) + static_cast<char>(n >> 8) + static_cast<char>(n);
  };
  std::string msgpack = std::string("\xde\x01\x02", 3);  // a map of 258 entries
  for (int i = 0; i < 256; ++i)
    msgpack += number(i + 1) + std::string("\xc4\x01", 2) + std::string(1, static_cast<char>(i));
  msgpack +=
      number(257) + std::string("\xc4\x03", 2) + "{\"a" + number(258) + std::string("\xc4\x04", 2) + "true";
  auto tokenizer = Tokenizer::from_rwkv(msgpack, "vocabulary");
  EXPECT_TRUE(tokenizer.is_ok()) << tokenizer.status().message();
  return *tokenizer;
}

class Grammars : public ::testing::Test {
 protected:
  static const GrammarCompiler& compiler() {
    static const GrammarCompiler compiler(byte_tokenizer());
    return compiler;
  }
  static GrammarMatcher start(GrammarKind kind, std::string_view text) {
    auto grammar = compiler().compile(kind, text, {}, "grammar");
    EXPECT_TRUE(grammar.is_ok()) << grammar.status().message();
    auto matcher = (*grammar)->start();
    EXPECT_TRUE(matcher.is_ok());
    return std::move(*matcher);
  }
  // Whether the whole text is in the grammar.
  static bool matches(GrammarKind kind, std::string_view grammar, std::string_view text) {
    GrammarMatcher matcher = start(kind, grammar);
    for (unsigned char c : text) {
      auto mask = matcher.mask();
      EXPECT_TRUE(mask.is_ok());
      if (!mask->allows(c + 1)) return false;
      EXPECT_TRUE(matcher.accept(c + 1).is_ok());
    }
    auto mask = matcher.mask();
    return mask.is_ok() && mask->may_end;
  }
  static std::string refusal(GrammarKind kind, std::string_view text, const GrammarLimits& limits = {}) {
    auto grammar = compiler().compile(kind, text, limits, "grammar");
    return grammar.is_ok() ? "" : grammar.status().message();
  }
};

constexpr std::string_view kSchema =
    R"({"type":"object","properties":{"a":{"type":"integer","minimum":1,"maximum":99},"b":{"enum":["x","y"]}},
        "required":["a"],"additionalProperties":false})";

TEST_F(Grammars, OfSchemasTakeTheirTextsAlone) {
  for (const char* text : {R"({"a": 1})", R"({"a":99,"b":"x"})", "{\n  \"a\": 7\n}"})
    EXPECT_TRUE(matches(GrammarKind::kJsonSchema, kSchema, text)) << text;
  for (const char* text :
       {R"({"a": 0})", R"({"a": 100})", R"({"b": "x"})", R"({"a": 1, "c": 1})", R"({"a": 1)", "[]"})
    EXPECT_FALSE(matches(GrammarKind::kJsonSchema, kSchema, text)) << text;
}

TEST_F(Grammars, HoldNoEndlessWhitespace) {
  EXPECT_TRUE(matches(GrammarKind::kJsonSchema, kSchema, R"({"a": 1})"));
  EXPECT_FALSE(matches(GrammarKind::kJsonSchema, kSchema, R"({"a":   1})"));
  EXPECT_FALSE(matches(GrammarKind::kJsonSchema, kSchema, "{\n\n\"a\": 1}"));
}

TEST_F(Grammars, OfRegexesAndLark) {
  EXPECT_TRUE(matches(GrammarKind::kRegex, "(ab)+c?", "abab"));
  EXPECT_FALSE(matches(GrammarKind::kRegex, "(ab)+c?", "abac"));
  EXPECT_TRUE(matches(GrammarKind::kLark, "start: \"<\" word \">\"\nword: /[a-z]+/", "<hi>"));
  EXPECT_FALSE(matches(GrammarKind::kLark, "start: \"<\" word \">\"\nword: /[a-z]+/", "<hi"));
}

constexpr std::string_view kGbnfJson = R"(# llama.cpp's grammar of JSON, in small
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (
             string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws     ::= | " " | "\n" [ \t]{0,20}
)";

TEST_F(Grammars, OfGbnf) {
  const auto in = [](std::string_view grammar, std::string_view text) {
    return matches(GrammarKind::kGbnf, grammar, text);
  };
  for (const char* text :
       {"{}", "{ }", R"({"a": 1, "b":[true, {"c": "\u00e9\n"}, -1.5e3]} )", "{\n\t\"a\":[]}"})
    EXPECT_TRUE(in(kGbnfJson, text)) << text;
  for (const char* text : {"[]", "{,}", R"({"a": 01})", R"({"a" 1})", "{\"a\": \"\n\"}", R"({"a": 1)"})
    EXPECT_FALSE(in(kGbnfJson, text)) << text;
  // Without recursion: exact, whatever is read first.
  constexpr std::string_view kIng = "root ::= word \"ing\" | \"\"\nword ::= [a-z]+\n";
  for (const char* text : {"going", "ingingin", "", "inging"})
    EXPECT_EQ(in(kIng, text), !std::string_view(text).ends_with("gin")) << text;
  constexpr std::string_view kRanges =
      "root ::= [^0-9\\]]{2,3} . (\"x\" | ) [\u00e4-\u00fc-]? \"\\x41\\u00e9\"";
  EXPECT_TRUE(in(kRanges, "ab!xA\u00e9"));
  EXPECT_TRUE(in(kRanges, "abc!-A\u00e9"));
  EXPECT_TRUE(in(kRanges, "ab\u20ac\u00f6A\u00e9"));
  EXPECT_FALSE(in(kRanges, "a]!A\u00e9"));
  // Recursion on both sides, repetitions of what is recursive, rules of nothing.
  constexpr std::string_view kNested = "root ::= none (\"(\" root \")\"){0,2} none\nnone ::=\n\n";
  for (const char* text : {"", "()", "()()", "(()())()"}) EXPECT_TRUE(in(kNested, text)) << text;
  for (const char* text : {"(", ")(", "()()()"}) EXPECT_FALSE(in(kNested, text)) << text;
  EXPECT_TRUE(in("root ::= root \"+\" [0-9]{1,} | [0-9]{1,}", "12+3+45"));
  // Brackets in texts are no groups.
  std::string many = "root ::= \"x\"";
  for (int i = 0; i < 300; ++i) many += " | \"[{(" + std::to_string(i) + "\"";
  EXPECT_TRUE(in(many, "[{(299"));
}

TEST_F(Grammars, OfGbnfAreTold) {
  EXPECT_TRUE(is_gbnf("\n # first\n#\nroot ::= x"));
  EXPECT_TRUE(is_gbnf("a-b\t::="));
  for (const char* text : {"", "start: \"a ::= b\"", "// ::=\nstart: /a/", "%ignore / /", "::= x"})
    EXPECT_FALSE(is_gbnf(text)) << text;
}

TEST_F(Grammars, OfGbnfThatAreBadSayWhere) {
  const auto refused = [](const std::string& text) { return refusal(GrammarKind::kGbnf, text); };
  EXPECT_EQ(refused("a ::= \"x\""), "grammar: found no rule 'root', expected one: the answer is of it");
  EXPECT_EQ(refused("root ::= \"x\"\n\nroot ::= \"y\""), "grammar: line 3: found the rule 'root' twice");
  EXPECT_EQ(refused("root ::= \"x\"\n  there"), "grammar: line 2: found the end, expected ::=");
  EXPECT_EQ(refused("root ::=\n \"x\" there"),
            "grammar: line 2: found the rule 'there', which stands nowhere");
  EXPECT_EQ(refused("root ::= (\"x\""), "grammar: line 1: found the end, expected ')' or more of the group");
  EXPECT_EQ(refused("root ::= \"x\" )"),
            "grammar: line 1: found \")\", expected the end of the line or more of the rule");
  EXPECT_EQ(refused("root ::= \"x"), "grammar: line 1: found the end, expected '\"' at the end of a text");
  EXPECT_NE(refused("root ::= [z-a]").find("no range that ends before it begins"), std::string::npos);
  EXPECT_NE(refused("root ::= [").find("']' at the end of a class"), std::string::npos);
  EXPECT_NE(refused("root ::= \"a\" [b-").find("a character"), std::string::npos);
  EXPECT_NE(refused("root ::= \"a\" [b").find("at the end of a class"), std::string::npos);
  EXPECT_NE(refused("root ::= \"\\q\"").find("an escape: "), std::string::npos);
  EXPECT_NE(refused("root ::= \"\\ud800\"").find("the number of a character"), std::string::npos);
  EXPECT_NE(refused("root ::= \"x\"{3,2}").find("no fewer than"), std::string::npos);
  EXPECT_NE(refused("root ::= \"x\"{99999}").find("at most 2000 times"), std::string::npos);
  EXPECT_NE(refused("root ::= !<x>").find("not built"), std::string::npos);
  EXPECT_NE(refused("root ::= " + std::string(40, '(')).find("nested deeper than 32"), std::string::npos);
  EXPECT_NE(refused("root ::= \"x\"\n|y ::= \"z\"").find("line 2: found \":\""), std::string::npos);
  EXPECT_NE(refused("root ::= y ::= \"z\"").find("line 1: found \":\""), std::string::npos);
  EXPECT_NE(refused("root ::= root \"x\""), "");  // nothing matches
  // A chain of rules, as long as the bytes allow.
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 3000; ++i)
    chain += "r" + std::to_string(i) + " ::= \"(\" r" + std::to_string(i + 1) + "?\n";
  refused(chain + "r3000 ::= root");
  refused(chain + "r3000 ::= \"x\"");
}

TEST_F(Grammars, AllowLongTokensAndEndWhereNothingFollows) {
  GrammarMatcher matcher = start(GrammarKind::kJsonSchema, R"({"const":true})");
  auto mask = matcher.mask();
  ASSERT_TRUE(mask.is_ok());
  EXPECT_TRUE(mask->allows(258));
  EXPECT_FALSE(mask->allows('t' + 1));  // forced text has the tokens that the tokenizer gives it
  EXPECT_FALSE(mask->allows(257));
  EXPECT_FALSE(mask->may_end);
  EXPECT_FALSE(matcher.complete());
  ASSERT_TRUE(matcher.accept(258).is_ok());
  EXPECT_TRUE(matcher.complete());
  EXPECT_FALSE(matcher.accept(258).is_ok());
}

TEST_F(Grammars, SayWhatIsForcedAndWhatIsValid) {
  GrammarMatcher matcher = start(GrammarKind::kRegex, "(hello|help) you");
  auto forced = matcher.forced();
  ASSERT_TRUE(forced.is_ok());
  EXPECT_EQ(*forced, (std::vector<int32_t>{'h' + 1, 'e' + 1, 'l' + 1}));
  const std::vector<int32_t> proposals = {'h' + 1, 'e' + 1, 'l' + 1, 'x' + 1, 'p' + 1};
  EXPECT_EQ(*matcher.valid(proposals), 3u);
  const std::vector<int32_t> unknown = {'h' + 1, 1000000, 'l' + 1}, negative = {-1};
  EXPECT_EQ(*matcher.valid(unknown), 1u) << "a model's tokens behind its tokenizer's are no text";
  EXPECT_EQ(*matcher.valid(negative), 0u);
  for (char c : std::string("help")) ASSERT_TRUE(matcher.accept(c + 1).is_ok());
  EXPECT_EQ(matcher.forced()->size(), 4u);
}

TEST_F(Grammars, OfOneStartAreIndependent) {
  auto grammar = compiler().compile(GrammarKind::kRegex, "ab|cd", {}, "grammar");
  ASSERT_TRUE(grammar.is_ok());
  auto one = (*grammar)->start(), other = (*grammar)->start();
  ASSERT_TRUE(one->accept('a' + 1).is_ok());
  ASSERT_TRUE(other->accept('c' + 1).is_ok());
  EXPECT_TRUE(one->mask()->allows('b' + 1));
  EXPECT_TRUE(other->mask()->allows('d' + 1));
  EXPECT_FALSE(other->mask()->allows('b' + 1));
}

TEST_F(Grammars, ThatAreBadGetOneSentence) {
  std::string deep = "true";
  for (int i = 0; i < 40; ++i) deep = R"({"not":)" + deep + "}";
  const std::pair<GrammarKind, std::string> bad[] = {
      {GrammarKind::kJsonSchema, "{"},
      {GrammarKind::kJsonSchema, R"({"type":"nonsense"})"},
      {GrammarKind::kJsonSchema, R"({"type":7})"},
      {GrammarKind::kJsonSchema, R"({"$ref":"#/nowhere"})"},
      {GrammarKind::kJsonSchema, R"({"$ref":"http://example.com/a.json"})"},
      {GrammarKind::kJsonSchema, R"({"enum":[]})"},
      {GrammarKind::kJsonSchema, R"({"type":"string","pattern":"("})"},
      {GrammarKind::kJsonSchema, deep},
      {GrammarKind::kRegex, "(a"},
      {GrammarKind::kRegex, std::string(2000, '(')},
      {GrammarKind::kLark, "start: missing"},
      {GrammarKind::kLark, "root ::= \"a\""},
      {GrammarKind::kLark, ""},
  };
  for (const auto& [kind, text] : bad) {
    const std::string message = refusal(kind, text);
    EXPECT_TRUE(message.starts_with("grammar: ")) << text << " gives: " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_LT(message.size(), 400u);
  }
}

TEST_F(Grammars, ThatCostTooMuchAreRefused) {
  EXPECT_NE(
      refusal(GrammarKind::kRegex, "(a?){1000}", {.bytes = 8}).find("found 10 bytes, expected at most 8"),
      std::string::npos);
  std::string words;
  for (int i = 0; i < 6000; ++i) words += std::to_string(1000000 + i * 7919 % 9000000) + "|";
  EXPECT_EQ(refusal(GrammarKind::kRegex, words + "x"), "");
  EXPECT_NE(refusal(GrammarKind::kRegex, words + "x", {.milliseconds = 1}), "");
  // 30 parts of 2 alternatives each would be tried in 3^30 ways.
  std::string parts;
  for (int i = 0; i < 30; ++i)
    parts += std::string(i ? "," : "") + R"({"anyOf":[{"minLength":)" + std::to_string(i) +
             R"(},{"maxLength":9}]})";
  EXPECT_NE(refusal(GrammarKind::kJsonSchema, R"({"allOf":[)" + parts + "]}").find("combinations"),
            std::string::npos);
}

// Each definition leads to the next: followed within one another, they must not end the process.
TEST_F(Grammars, OfLongChainsOfDefinitionsCompile) {
  constexpr int kLength = 2500;
  std::string schema = R"({"$ref":"#/$defs/d0","$defs":{)";
  for (int i = 0; i < kLength; ++i)
    schema += str("\"d", i, R"(":{"type":"array","items":{"$ref":"#/$defs/d)", i + 1, "\"}},");
  schema += str("\"d", kLength, "\":{}}}");
  EXPECT_EQ(refusal(GrammarKind::kJsonSchema, schema, {.bytes = 200'000}), "");
}

TEST(TokenMasks, LeaveAllowedLogitsAlone) {
  TokenMask mask{.words = {0, 0}};
  EXPECT_TRUE(mask.empty());
  mask.set(3, true);
  mask.set(33, true);
  mask.set(70, true);  // beyond it
  std::vector<float> logits(70, 1.0f);
  mask.apply(logits);
  for (size_t i = 0; i < logits.size(); ++i) EXPECT_EQ(logits[i] == 1.0f, i == 3 || i == 33) << i;
  EXPECT_FALSE(mask.allows(-1));
  EXPECT_FALSE(mask.allows(700));
}

}  // namespace
}  // namespace mlc
