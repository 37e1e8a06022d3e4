// Structured output and tools through the API, on a toy model that says nothing sensible by itself.
#include <gtest/gtest.h>

#include "support/tool_request.h"
#include "support/toy_service.h"

namespace mlc::serve::openai {
namespace {

using testing::kToolTemplate;
using testing::must;
using testing::tool;
using testing::ToyService;

constexpr const char* kChat = "/v1/chat/completions";

Json body_of(double temperature, int64_t seed) {
  return {
      {"messages", {{{"role", "user"}, {"content", "Hi"}}}}, {"temperature", temperature}, {"seed", seed}};
}

class GrammarTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { toy = new ToyService({.jinja = kToolTemplate}); }
  static void TearDownTestSuite() { delete toy; }

  static std::string refusal(Json body, const char* field, const Json& value) {
    body[field] = value;
    const Json answer = toy->answer(kChat, body, 400);
    EXPECT_EQ(answer["error"]["param"], field);
    return answer["error"]["message"].get<std::string>();
  }
  static ToyService* toy;
};
ToyService* GrammarTest::toy = nullptr;

void expect_pair(const std::string& text) {
  const Json value = must(parse_json(text, text));
  ASSERT_EQ(value.size(), 2u) << text;
  EXPECT_TRUE(value["a"] == "x" || value["a"] == "yy") << text;
  EXPECT_TRUE(value["b"].is_number_integer() && value["b"] >= 0 && value["b"] <= 9) << text;
}

TEST_F(GrammarTest, EveryAnswerUnderASchemaIsOfIt) {
  const Json schema = {
      {"type", "object"},
      {"properties",
       {{"a", {{"enum", {"x", "yy"}}}}, {"b", {{"type", "integer"}, {"minimum", 0}, {"maximum", 9}}}}},
      {"required", {"a", "b"}},
      {"additionalProperties", false}};
  const Json formats[] = {
      {{"type", "json_schema"}, {"json_schema", {{"name", "pair"}, {"strict", true}, {"schema", schema}}}},
      {{"type", "json_object"}, {"schema", json_text(schema)}},
      {{"type", "json_object"}, {"schema", schema}}};
  int64_t seed = 1;
  for (const Json& format : formats)
    for (double temperature : {0.0, 1.0, 1.3}) {
      Json body = body_of(temperature, seed++);
      body["response_format"] = format;
      body["n"] = 3;
      const Json answer = toy->answer(kChat, body);
      for (const Json& choice : answer["choices"]) {
        EXPECT_EQ(choice["finish_reason"], "stop");
        expect_pair(choice["message"]["content"].get<std::string>());
      }
    }
}

TEST_F(GrammarTest, ResponsesHaveFormatsToo) {
  const Json format = {{"type", "json_schema"}, {"name", "n"}, {"schema", {{"enum", {"x", "yy"}}}}};
  const Json body = {{"input", "Hi"}, {"text", {{"format", format}}}};
  const std::string text = toy->answer("/v1/responses", body)["output"][0]["content"][0]["text"];
  EXPECT_TRUE(text == "\"x\"" || text == "\"yy\"") << text;
  EXPECT_EQ(toy->answer("/v1/responses", {{"input", "Hi"}, {"text", {{"format", {{"type", "xml"}}}}}},
                        400)["error"]["param"],
            "text.format");
}

TEST_F(GrammarTest, GoesWithOtherSettings) {
  Json body = body_of(1, 5);
  body["response_format"] = {{"type", "regex"}, {"regex", "(yes|no), (cats|dogs)\\."}};
  const std::string plain = toy->answer(kChat, body)["choices"][0]["message"]["content"];
  EXPECT_TRUE(plain.ends_with("s.")) << plain;
  for (auto [field, value] : {std::pair<const char*, Json>{"min_p", 0.3},
                              {"top_k", 3},
                              {"logprobs", true},
                              {"repetition_penalty", 1.3},
                              {"stop", "zzz"},
                              {"logit_bias", {{"5", 100}}}}) {
    Json other = body;
    other[field] = value;
    const Json choice = toy->answer(kChat, other)["choices"][0];
    const std::string text = choice["message"]["content"];
    EXPECT_TRUE(text == "yes, cats." || text == "yes, dogs." || text == "no, cats." || text == "no, dogs.")
        << field << ": " << text;
    if (std::string(field) == "logprobs") {
      std::string joined;
      for (const Json& token : choice["logprobs"]["content"]) joined += token["token"].get<std::string>();
      EXPECT_EQ(joined, text);
    }
  }
  body["response_format"] = {{"type", "grammar"}, {"grammar", "start: \"a\" | \"b\""}};
  const std::string letter = toy->answer(kChat, body)["choices"][0]["message"]["content"];
  EXPECT_TRUE(letter == "a" || letter == "b") << letter;
  body["response_format"]["grammar"] = "root ::= [cd] ending\nending ::= \"!\"";
  const std::string gbnf = toy->answer(kChat, body)["choices"][0]["message"]["content"];
  EXPECT_TRUE(gbnf == "c!" || gbnf == "d!") << gbnf;
}

TEST_F(GrammarTest, BadFormatsAreA400AndTheServerLives) {
  const Json body = body_of(0, 1);
  auto refused = [&](const Json& format) { return refusal(body, "response_format", format); };
  EXPECT_NE(refused({{"type", "yaml"}}).find("expected text, json_object"), std::string::npos);
  EXPECT_NE(refused({{"type", "json_schema"}}).find("response_format.json_schema"), std::string::npos);
  EXPECT_NE(refused({{"type", "json_object"}, {"schema", "{"}}).find("response_format.schema: "),
            std::string::npos);
  EXPECT_NE(
      refused({{"type", "json_object"}, {"schema", {{"type", "nonsense"}}}}).find("response_format.schema: "),
      std::string::npos);
  EXPECT_NE(refused({{"type", "regex"}, {"regex", "("}}).find("response_format.regex: "), std::string::npos);
  EXPECT_NE(refused({{"type", "regex"}, {"regex", std::string(70000, 'a')}}).find("expected at most 65536"),
            std::string::npos);
  EXPECT_NE(refused({{"type", "grammar"}, {"grammar", 7}}).find("expected a text"), std::string::npos);
  EXPECT_NE(refused({{"type", "grammar"}, {"grammar", "root ::= missing"}})
                .find("response_format.grammar: line 1: found the rule 'missing'"),
            std::string::npos);
  EXPECT_NE(
      refused({{"type", "grammar"}, {"grammar", "root ::= \"x\""}, {"syntax", "lark"}}).find("grammar: "),
      std::string::npos);
  EXPECT_NE(refused({{"type", "grammar"}, {"grammar", "start: /a/"}, {"syntax", "bnf"}})
                .find("response_format.syntax: found \"bnf\""),
            std::string::npos);
  refused("text");
  EXPECT_EQ(
      toy->answer(kChat, {{"messages", body["messages"]}, {"max_tokens", 2}})["usage"]["completion_tokens"],
      2);
}

TEST_F(GrammarTest, DemandedToolsAreCalled) {
  Json body = body_of(1, 3);
  body["tools"] = {tool("add", {{"a", {{"type", "integer"}, {"minimum", 0}, {"maximum", 99}}}}),
                   tool("ask", {{"who", {{"enum", {"me", "you"}}}}})};
  body["tool_choice"] = {{"type", "function"}, {"function", {{"name", "ask"}}}};
  const Json choice = toy->answer(kChat, body)["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(choice["message"]["content"], nullptr);
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1u);
  const Json& call = choice["message"]["tool_calls"][0];
  EXPECT_TRUE(call["id"].get<std::string>().starts_with("call_"));
  EXPECT_EQ(call["function"]["name"], "ask");
  const Json arguments = must(parse_json(call["function"]["arguments"].get<std::string>(), "arguments"));
  EXPECT_TRUE(arguments["who"] == "me" || arguments["who"] == "you");

  body["stream"] = true;
  std::string name, text, finish, content;
  for (const Reply& reply : toy->post(kChat, json_text(body))) {
    if (reply.last) break;
    const Json part = must(parse_json(reply.text, "chunk"))["choices"][0];
    content += find_string(part["delta"], "content").value_or("");
    if (const Json* calls = find(part["delta"], "tool_calls")) {
      EXPECT_EQ((*calls)[0]["index"], 0);
      name += find_string((*calls)[0]["function"], "name").value_or("");
      text += find_string((*calls)[0]["function"], "arguments").value_or("");
    }
    finish = find_string(part, "finish_reason").value_or(finish);
  }
  EXPECT_EQ(name, "ask");
  EXPECT_EQ(Json(text), call["function"]["arguments"]);
  EXPECT_EQ(finish, "tool_calls");
  EXPECT_EQ(content, "");

  body.erase("stream");
  body["tool_choice"] = "required";
  body["parallel_tool_calls"] = false;
  const Json any = toy->answer(kChat, body)["choices"][0]["message"]["tool_calls"];
  ASSERT_EQ(any.size(), 1u);
  EXPECT_TRUE(any[0]["function"]["name"] == "add" || any[0]["function"]["name"] == "ask");
}

TEST_F(GrammarTest, AnswersWithoutCallsStayTexts) {
  Json body = body_of(0, 1);
  body["max_tokens"] = 6;
  const Json plain = toy->answer(kChat, body)["choices"][0];
  body["tools"] = Json::array({tool("f", Json::object())});
  body["tool_choice"] = "none";
  EXPECT_EQ(toy->answer(kChat, body)["choices"][0]["message"], plain["message"]);
  body["tool_choice"] = "auto";
  const Json choice = toy->answer(kChat, body)["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_EQ(choice["message"]["tool_calls"], nullptr);
}

TEST_F(GrammarTest, CallsAndResultsReachTheTemplate) {
  const Json messages = {
      {{"role", "user"}, {"content", "Hi"}},
      {{"role", "assistant"},
       {"content", nullptr},
       {"tool_calls",
        {{{"id", "c1"}, {"type", "function"}, {"function", {{"name", "f"}, {"arguments", "{\"a\": 1}"}}}}}}},
      {{"role", "tool"}, {"tool_call_id", "c1"}, {"content", "2"}}};
  const Json tokens = toy->answer("/tokenize", {{"messages", messages}})["tokens"];
  const std::string text = toy->answer("/detokenize", {{"tokens", tokens}})["prompt"];
  EXPECT_NE(text.find("<tool_call>f{\"a\": 1}</tool_call>"), std::string::npos) << text;
  EXPECT_NE(text.find("<tool>2c1"), std::string::npos) << text;
}

TEST_F(GrammarTest, BadToolsAreA400) {
  const Json body = body_of(0, 1);
  EXPECT_NE(refusal(body, "tools", "f").find("a list of tools"), std::string::npos);
  EXPECT_NE(refusal(body, "tools", Json::array({{{"type", "search"}}})).find("tools[0]"), std::string::npos);
  EXPECT_NE(
      refusal(body, "tools", Json::array({tool("no name!", Json::object())})).find("tools[0].function.name"),
      std::string::npos);
  EXPECT_NE(refusal(body, "tools", Json::array({tool("f", Json::object()), tool("f", Json::object())}))
                .find("twice"),
            std::string::npos);
  EXPECT_NE(refusal(body, "tool_choice", "required").find("without tools"), std::string::npos);
  Json with = body;
  with["tools"] = Json::array({tool("f", {{"a", {{"type", "nonsense"}}}})});
  EXPECT_NE(refusal(with, "tool_choice", "some").find("none, auto, required"), std::string::npos);
  EXPECT_NE(refusal(with, "tool_choice", {{"type", "function"}, {"function", {{"name", "g"}}}})
                .find("one of tools"),
            std::string::npos);
  with["tool_choice"] = "required";
  const Json answer = toy->answer(kChat, with, 400);
  EXPECT_EQ(answer["error"]["param"], "tools") << json_text(answer);
  Json no_tools = {{"messages", {{{"role", "tool"}, {"content", "1"}, {"tool_calls", {1}}}}}};
  EXPECT_EQ(toy->answer(kChat, no_tools, 400)["error"]["param"], "messages[0].tool_calls");
}

TEST(GrammarOfPlainPresets, TakesNoTools) {
  ToyService plain({});
  Json body = body_of(0, 1);
  body["tools"] = Json::array({tool("f", Json::object())});
  EXPECT_NE(plain.answer(kChat, body, 400)["error"]["message"].get<std::string>().find("takes none"),
            std::string::npos);
}

}  // namespace
}  // namespace mlc::serve::openai
