// The grammar of calls of every format, as the API demands calls: compiled, followed by the text of calls,
// and read back by the parser.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "chat/grammar/grammar.h"
#include "chat/tools/answer_parser.h"

namespace mlc {
namespace {

using namespace tool_tags;

// Ids 1 to 256 are the bytes; the tags stand as texts.
std::shared_ptr<const Tokenizer> byte_tokenizer() {
  std::string msgpack = std::string("\xde\x01", 2) + std::string(1, '\0');  // a map of 256 entries
  for (int i = 0; i < 256; ++i)
    msgpack += std::string("\xcd", 1) + static_cast<char>((i + 1) >> 8) + static_cast<char>(i + 1) +
               std::string("\xc4\x01", 2) + std::string(1, static_cast<char>(i));
  auto tokenizer = Tokenizer::from_rwkv(msgpack, "vocabulary");
  EXPECT_TRUE(tokenizer.is_ok()) << tokenizer.status().message();
  return *tokenizer;
}

Json schema(const char* key, Json value) {
  return {{"type", "object"},
          {"properties", {{key, std::move(value)}}},
          {"required", {key}},
          {"additionalProperties", false}};
}

const std::vector<ToolFunction> kFunctions = {{"add", schema("a", {{"type", "integer"}})},
                                              {"ask", schema("who", {{"enum", {"me", "you"}}})}};

// A call of ask, two calls, and what is no call of these.
struct Calls {
  ToolFormat format;
  std::string one, two, wrong_name, wrong_arguments;
};

std::vector<Calls> all_calls() {
  const auto around = [](const std::string& open, const std::string& between, const std::string& close) {
    return [=](const std::string& name, const std::string& arguments) {
      return open + name + between + arguments + close;
    };
  };
  const std::string me = R"({"who": "me"})", seven = R"({"a": 7})", bad = R"({"who": "us"})";
  const auto of = [&](ToolFormat format, auto call, const std::string& first, const std::string& between,
                      const std::string& last) {
    return Calls{format, first + call("ask", me) + last,
                 first + call("ask", me) + between + call("add", seven) + last,
                 first + call("tell", me) + last, first + call("ask", bad) + last};
  };
  const std::string calls_begin(kCallsBegin), calls_end(kCallsEnd);
  return {
      of(ToolFormat::kHermes, around("<tool_call>\n{\"name\": \"", "\", \"arguments\": ", "}\n</tool_call>"),
         "", "\n", ""),
      of(ToolFormat::kMistral, around("{\"name\": \"", "\", \"arguments\": ", "}"), "[TOOL_CALLS][", ", ",
         "]"),
      of(ToolFormat::kLlama, around("{\"name\": \"", "\", \"parameters\": ", "}"), "", "; ", ""),
      of(ToolFormat::kDeepSeek,
         around(str(kCallBegin, "function", kCallSeparator), "\n```json\n", str("\n```", kCallEnd)),
         calls_begin, "\n", calls_end),
      of(ToolFormat::kHarmony,
         around("<|channel|>commentary to=functions.", " <|constrain|>json<|message|>", ""), "", "", ""),
      {ToolFormat::kPython, R"([ask(who="me")])", R"([ask(who="me"), add(a=7)])", R"([tell(who="me")])",
       R"([ask(who="us")])"},
  };
}

class ToolGrammars : public ::testing::TestWithParam<Calls> {
 protected:
  // Whether the whole text is in the grammar of these functions.
  static bool allows(const std::vector<ToolFunction>& functions, bool several, const std::string& text) {
    static const std::shared_ptr<const Tokenizer> tokenizer = byte_tokenizer();
    static const GrammarCompiler compiler(tokenizer);
    const std::string lark = tool_call_grammar(GetParam().format, functions, several, *tokenizer);
    auto grammar = compiler.compile(GrammarKind::kLark, lark, {}, "tools");
    EXPECT_TRUE(grammar.is_ok()) << grammar.status().message() << "\n" << lark;
    if (!grammar.is_ok()) return false;
    auto matcher = (*grammar)->start();
    std::vector<int32_t> tokens;
    for (unsigned char c : text) tokens.push_back(c + 1);
    auto valid = matcher->valid(tokens);
    EXPECT_TRUE(valid.is_ok()) << valid.status().message();
    if (!valid.is_ok() || *valid < tokens.size()) return false;
    for (int32_t token : tokens) EXPECT_TRUE(matcher->accept(token).is_ok());
    return matcher->mask()->may_end;
  }
};

TEST_P(ToolGrammars, RequiredIsOneOfAllOnceOrMore) {
  const Calls& calls = GetParam();
  EXPECT_TRUE(allows(kFunctions, true, calls.one)) << calls.one;
  EXPECT_EQ(allows(kFunctions, true, calls.two), calls.format != ToolFormat::kHarmony) << calls.two;
  EXPECT_FALSE(allows(kFunctions, true, calls.wrong_name)) << calls.wrong_name;
  EXPECT_FALSE(allows(kFunctions, true, calls.wrong_arguments)) << calls.wrong_arguments;
  EXPECT_FALSE(allows(kFunctions, true, "Hello"));
  EXPECT_TRUE(allows(kFunctions, false, calls.one));
  EXPECT_FALSE(allows(kFunctions, false, calls.two));
}

TEST_P(ToolGrammars, NamedIsThatOneAlone) {
  const Calls& calls = GetParam();
  EXPECT_TRUE(allows({kFunctions[1]}, false, calls.one)) << calls.one;
  EXPECT_FALSE(allows({kFunctions[0]}, false, calls.one)) << calls.one;
  EXPECT_FALSE(allows({kFunctions[1]}, false, calls.wrong_arguments)) << calls.wrong_arguments;
}

TEST_P(ToolGrammars, WhatTheyLetThroughIsReadAsCalls) {
  const Calls& calls = GetParam();
  AnswerParser parser({calls.format});
  std::vector<AnswerPart> parts;
  parser.put(calls.one, parts);
  parser.finish(parts);
  ASSERT_EQ(parts.size(), 2u) << calls.one;
  EXPECT_EQ(parts[0].kind, AnswerPartKind::kCall);
  EXPECT_EQ(parts[0].text, "ask");
  auto arguments = parse_json(parts[1].text, "arguments");
  ASSERT_TRUE(arguments.is_ok()) << parts[1].text;
  EXPECT_EQ((*arguments)["who"], "me");
}

std::string name_of(const ::testing::TestParamInfo<Calls>& info) {
  constexpr const char* kNames[] = {"None", "Hermes", "Mistral", "Llama", "Python", "DeepSeek", "Harmony"};
  return kNames[static_cast<int>(info.param.format)];
}
INSTANTIATE_TEST_SUITE_P(Formats, ToolGrammars, ::testing::ValuesIn(all_calls()), name_of);

}  // namespace
}  // namespace mlc
