// Answers of all tool formats: whole, cut at every byte, byte by byte, and malformed.
#include "chat/tools/answer_parser.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "chat/tools/python_call.h"

namespace mlc {
namespace {

using namespace tool_tags;
using Kind = AnswerPartKind;

std::string shown(const std::vector<AnswerPart>& parts) {
  constexpr const char* kNames[] = {"text", "think", "call", "args"};
  std::string result, last;
  for (const AnswerPart& part : parts) {
    const std::string name = kNames[static_cast<int>(part.kind)];
    if (name != last || part.kind == Kind::kCall) result += str(result.empty() ? "" : " | ", name, ":");
    result += part.text;
    last = name;
  }
  return result;
}

std::string parse(const AnswerForm& form, const std::vector<std::string_view>& pieces) {
  AnswerParser parser(form);
  std::vector<AnswerPart> parts;
  for (std::string_view piece : pieces) parser.put(piece, parts);
  parser.finish(parts);
  return shown(parts);
}

// The parts of the whole text, which any cuts give too.
std::string parse(const AnswerForm& form, std::string_view text) {
  const std::string whole = parse(form, std::vector<std::string_view>{text});
  std::vector<std::string_view> bytes;
  for (size_t cut = 0; cut < text.size(); ++cut) {
    bytes.push_back(text.substr(cut, 1));
    EXPECT_EQ(parse(form, {text.substr(0, cut), text.substr(cut)}), whole)
        << "cut at " << cut << " of " << text;
  }
  EXPECT_EQ(parse(form, bytes), whole) << text;
  return whole;
}

constexpr AnswerForm kHermes{ToolFormat::kHermes}, kMistral{ToolFormat::kMistral}, kLlama{ToolFormat::kLlama},
    kPython{ToolFormat::kPython}, kDeepSeek{ToolFormat::kDeepSeek}, kHarmony{ToolFormat::kHarmony},
    kThinks{ToolFormat::kHermes, true};

TEST(AnswerParsers, ReadHermesCalls) {
  EXPECT_EQ(
      parse(kHermes, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, \"}\"]}}\n</tool_call>"),
      "call:f | args:{\"a\": [1, \"}\"]}");
  EXPECT_EQ(parse(kHermes,
                  "Look.<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n<tool_call>{\"name\":\"g\","
                  "\"arguments\":{\"b\":2}}</tool_call>\n"),
            "text:Look. | call:f | args:{} | call:g | args:{\"b\":2}");
  EXPECT_EQ(parse(kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\nDone."),
            "call:f | args:{} | text:\nDone.");
  EXPECT_EQ(parse(kHermes, "<tool_call>{\"arguments\":{\"a\":1},\"name\":\"f\"}</tool_call>"),
            "call:f | args:{\"a\":1}");
  EXPECT_EQ(parse(kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>"),
            "call:f | args:{\"a\":1}");
}

TEST(AnswerParsers, ShowWhatIsNoCall) {
  EXPECT_EQ(parse(kHermes, "a <tool b < c"), "text:a <tool b < c");
  EXPECT_EQ(parse(kHermes, "<tool_call> none"), "text:<tool_call> none");
  EXPECT_EQ(parse(kHermes, "<tool_call>{\"x\": 1} y"), "text:<tool_call>{\"x\": 1} y");
  EXPECT_EQ(parse(kHermes, "<tool_call>{\"x\": "), "text:<tool_call>{\"x\": ");
  EXPECT_EQ(parse(kHermes, "<tool_ca"), "text:<tool_ca");
  EXPECT_EQ(parse(kHermes, ""), "");
  EXPECT_EQ(parse(kLlama, " {\"a\": 1} b"), "text: {\"a\": 1} b");
  EXPECT_EQ(parse(kPython, "[f(a=1"), "text:[f(a=1");
  EXPECT_EQ(parse(kMistral, "[TOOL_CALLS]nothing of it"), "text:[TOOL_CALLS]nothing of it");
  EXPECT_EQ(parse({ToolFormat::kNone}, "<tool_call>{}"), "text:<tool_call>{}");
}

TEST(AnswerParsers, KeepWhatAnEndCutsOff) {
  EXPECT_EQ(parse(kHermes, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\": \"b"),
            "call:f | args:{\"a\": \"b");
}

TEST(AnswerParsers, ReadMistralCalls) {
  EXPECT_EQ(
      parse(
          kMistral,
          "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}}]"),
      "call:f | args:{\"a\": 1} | call:g | args:{}");
  EXPECT_EQ(parse(kMistral, "Hm. [TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g{}"),
            "text:Hm.  | call:f | args:{\"a\": 1} | call:g | args:{}");
}

TEST(AnswerParsers, ReadLlamaCalls) {
  EXPECT_EQ(parse(kLlama, "{\"name\": \"f\", \"parameters\": {\"a\": \"x\"}}"),
            "call:f | args:{\"a\": \"x\"}");
  EXPECT_EQ(
      parse(kLlama,
            "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}"),
      "call:f | args:{} | call:g | args:{}");
  EXPECT_EQ(parse(kLlama, "Just text."), "text:Just text.");
}

TEST(AnswerParsers, ReadPythonCalls) {
  EXPECT_EQ(parse(kPython, "[f(a=1, b='x'), g()]"), "call:f | args:{\"a\":1,\"b\":\"x\"} | call:g | args:{}");
  EXPECT_EQ(parse(kPython, "f(a=[1.5, True, None])"), "call:f | args:{\"a\":[1.5,true,null]}");
  EXPECT_EQ(parse(kPython, "[\"f(a=1)\", \"g()\"]"), "call:f | args:{\"a\":1} | call:g | args:{}");
  EXPECT_EQ(parse(kPython, "Sure, f is fine."), "text:Sure, f is fine.");
}

TEST(AnswerParsers, ReadDeepSeekCalls) {
  const std::string old =
      str(kCallsBegin, kCallBegin, "function", kCallSeparator, "f\n```json\n{\"a\": 1}\n```", kCallEnd, "\n",
          kCallBegin, "function", kCallSeparator, "g\n```json\n{}\n```", kCallEnd, kCallsEnd);
  EXPECT_EQ(parse(kDeepSeek, "So: " + old), "text:So:  | call:f | args:{\"a\": 1} | call:g | args:{}");
  const std::string now = str(kCallsBegin, kCallBegin, "f", kCallSeparator, "{\"a\": 1}", kCallEnd,
                              kCallBegin, "g", kCallSeparator, "{}", kCallEnd, kCallsEnd);
  EXPECT_EQ(parse(kDeepSeek, now), "call:f | args:{\"a\": 1} | call:g | args:{}");
}

TEST(AnswerParsers, ReadHarmony) {
  EXPECT_EQ(parse(kHarmony,
                  "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Hi!"),
            "think:Hm. | text:Hi!");
  EXPECT_EQ(
      parse(kHarmony, "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\":1}<|call|>"),
      "call:f | args:{\"a\":1}");
  EXPECT_EQ(parse(kHarmony, "<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{}"),
            "call:f | args:{}");
  EXPECT_EQ(parse(kHarmony, "plain"), "text:plain");
}

TEST(AnswerParsers, TakeThinkBlocksOut) {
  EXPECT_EQ(parse(kThinks, "<think>\nHm.\n</think>\n\nHi <think> more</think> there"),
            "think:\nHm.\n | text:Hi  | think: more | text:there");
  AnswerForm opened = kThinks;
  opened.opens_thinking = true;
  EXPECT_EQ(parse(opened, "Hm.</think>\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>"),
            "think:Hm. | call:f | args:{}");
  EXPECT_EQ(parse(opened, "never done"), "think:never done");
}

TEST(PythonCalls, AreLiteralsAlone) {
  std::vector<PythonCall> calls;
  ASSERT_TRUE(parse_python_calls(R"(a.b(x="q\"\u00e9\n", y={'k': (1, -2)}, z=+3))", calls));
  EXPECT_EQ(calls[0].name, "a.b");
  EXPECT_EQ(json_text(calls[0].arguments), "{\"x\":\"q\\\"\xC3\xA9\\n\",\"y\":{\"k\":[1,-2]},\"z\":3}");
  for (const char* bad : {"", "f", "f(", "f(1)", "f(a=)", "f(a=b)", "f(a=1", "[f(a=1)", "f(a=1) g()",
                          "f(a='x)", "[]", "f(a=1e999)", "f(a='\\ud800')"})
    EXPECT_FALSE(parse_python_calls(bad, calls)) << bad;
  EXPECT_FALSE(parse_python_calls("f(a=" + std::string(1000, '['), calls));
  EXPECT_FALSE(parse_python_calls(std::string(100000, '['), calls));
}

TEST(ToolFormats, AreToldByTemplates) {
  EXPECT_EQ(find_tool_format("", false), ToolFormat::kNone);
  EXPECT_EQ(find_tool_format("", true), ToolFormat::kPython);
  EXPECT_EQ(find_tool_format("{{ messages }}", false), ToolFormat::kNone);
  EXPECT_EQ(find_tool_format("{% if tools %}<tool_call>", false), ToolFormat::kHermes);
  EXPECT_EQ(find_tool_format("{% if tools %}<tool_call><function=", false), ToolFormat::kNone);
  EXPECT_EQ(find_tool_format("{% if tools %}[TOOL_CALLS]", false), ToolFormat::kMistral);
  EXPECT_EQ(find_tool_format("{% if tools %}<|python_tag|>", false), ToolFormat::kLlama);
  EXPECT_EQ(find_tool_format("tools [func_name1(params", false), ToolFormat::kPython);
  EXPECT_EQ(find_tool_format(str("tools ", kCallsBegin), false), ToolFormat::kDeepSeek);
  EXPECT_EQ(find_tool_format("<|channel|>", false), ToolFormat::kHarmony);
}

}  // namespace
}  // namespace mlc
