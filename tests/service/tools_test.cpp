// Tools and thoughts in /v1/responses and /v1/messages: what goes in reaches the model as a chat's does, and
// what comes out is the chat's answer, streamed and whole.
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
constexpr const char* kResponses = "/v1/responses";
constexpr const char* kMessages = "/v1/messages";

const Json kAsk = tool("ask", {{"who", {{"enum", {"me", "you"}}}}}),
           kAdd = tool("add", {{"a", {{"type", "integer"}, {"minimum", 0}, {"maximum", 99}}}});

Json responses_tool(const Json& chat) {
  const Json& function = chat["function"];
  return {{"type", "function"},
          {"name", function["name"]},
          {"parameters", function["parameters"]},
          {"strict", true}};
}
Json messages_tool(const Json& chat) {
  return {{"name", chat["function"]["name"]},
          {"description", "of no use"},
          {"input_schema", chat["function"]["parameters"]}};
}

class ToolsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { toy = new ToyService({.jinja = kToolTemplate}); }
  static void TearDownTestSuite() { delete toy; }

  static std::vector<Json> stream(const char* path, Json body) {
    body["stream"] = true;
    std::vector<Json> events;
    for (const Reply& reply : toy->post(path, json_text(body))) {
      if (reply.last) break;
      events.push_back(must(parse_json(reply.text, "event")));
      EXPECT_EQ(events.back()["type"], reply.event);
    }
    return events;
  }
  static std::string responses_refusal(Json body, const char* param) {
    body.emplace("input", "Hi");
    const Json answer = toy->answer(kResponses, body, 400);
    EXPECT_EQ(answer["error"]["param"], param) << json_text(answer);
    return answer["error"]["message"];
  }
  static std::string messages_refusal(Json body) {
    body.emplace("max_tokens", 4);
    body.emplace("messages", Json::array({{{"role", "user"}, {"content", "Hi"}}}));
    return toy->answer(kMessages, body, 400)["error"]["message"];
  }
  static ToyService* toy;
};
ToyService* ToolsTest::toy = nullptr;

Json responses_body() {
  return {{"input", "Hi"},
          {"temperature", 1},
          {"seed", 3},
          {"tools", {responses_tool(kAdd), responses_tool(kAsk)}}};
}

TEST_F(ToolsTest, ResponsesCallAsChatsDo) {
  Json body = responses_body();
  body["tool_choice"] = {{"type", "function"}, {"name", "ask"}};
  const Json whole = toy->answer(kResponses, body);
  EXPECT_EQ(whole["status"], "completed");
  EXPECT_EQ(whole["tools"], body["tools"]);
  EXPECT_EQ(whole["tool_choice"], body["tool_choice"]);
  ASSERT_EQ(whole["output"].size(), 1u) << json_text(whole);
  const Json& call = whole["output"][0];
  EXPECT_EQ(call["type"], "function_call");
  EXPECT_EQ(call["name"], "ask");
  EXPECT_TRUE(call["call_id"].get<std::string>().starts_with("call_"));

  Json chat = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}},
               {"temperature", 1},
               {"seed", 3},
               {"tools", {kAdd, kAsk}},
               {"tool_choice", {{"type", "function"}, {"function", {{"name", "ask"}}}}}};
  EXPECT_EQ(toy->answer(kChat, chat)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"],
            call["arguments"]);
}

TEST_F(ToolsTest, ResponsesStreamCalls) {
  Json body = responses_body();
  body["tool_choice"] = "required";
  body["parallel_tool_calls"] = false;
  const Json whole = toy->answer(kResponses, body);
  EXPECT_EQ(whole["parallel_tool_calls"], false);
  const auto events = stream(kResponses, body);
  std::string arguments, types;
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i]["sequence_number"], i);
    const std::string type = events[i]["type"];
    if (type == "response.function_call_arguments.delta") {
      EXPECT_EQ(events[i]["item_id"], events[2]["item"]["id"]);
      arguments += events[i]["delta"].get<std::string>();
    } else {
      types += type.substr(9) + " ";
    }
  }
  EXPECT_EQ(types,
            "created in_progress output_item.added function_call_arguments.done output_item.done completed ");
  EXPECT_EQ(events[2]["item"]["arguments"], "");
  EXPECT_EQ(events[2]["item"]["status"], "in_progress");
  ASSERT_EQ(whole["output"].size(), 1u);
  EXPECT_EQ(whole["output"][0]["arguments"], arguments);
  const Json& item = events[events.size() - 2]["item"];
  EXPECT_EQ(item["arguments"], arguments);
  EXPECT_EQ(item["call_id"], events[2]["item"]["call_id"]);
  EXPECT_EQ(events.back()["response"]["output"][0], item);
}

TEST_F(ToolsTest, MessagesCallAndStreamCalls) {
  Json body = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}},
               {"max_tokens", 100},
               {"temperature", 0},
               {"tools", {messages_tool(kAdd), messages_tool(kAsk)}},
               {"tool_choice", {{"type", "tool"}, {"name", "ask"}}}};
  const Json whole = toy->answer(kMessages, body);
  EXPECT_EQ(whole["stop_reason"], "tool_use");
  ASSERT_EQ(whole["content"].size(), 1u) << json_text(whole);
  const Json& call = whole["content"][0];
  EXPECT_EQ(call["type"], "tool_use");
  EXPECT_EQ(call["name"], "ask");
  EXPECT_TRUE(call["id"].get<std::string>().starts_with("toolu_"));
  EXPECT_TRUE(call["input"]["who"] == "me" || call["input"]["who"] == "you");

  const auto events = stream(kMessages, body);
  std::string arguments, types;
  for (const Json& event : events) {
    if (event["type"] == "content_block_delta") {
      EXPECT_EQ(event["delta"]["type"], "input_json_delta");
      arguments += event["delta"]["partial_json"].get<std::string>();
    } else {
      types += event["type"].get<std::string>() + " ";
    }
  }
  EXPECT_EQ(types, "message_start ping content_block_start content_block_stop message_delta message_stop ");
  EXPECT_EQ(must(parse_json(arguments, "arguments")), call["input"]);
  EXPECT_EQ(events[2]["content_block"]["name"], "ask");
  EXPECT_EQ(events[2]["content_block"]["input"], Json::object());
  EXPECT_EQ(events[events.size() - 2]["delta"]["stop_reason"], "tool_use");

  body["tool_choice"] = {{"type", "any"}, {"disable_parallel_tool_use", true}};
  EXPECT_EQ(toy->answer(kMessages, body)["content"].size(), 1u);
  body["tool_choice"] = {{"type", "none"}};
  EXPECT_EQ(toy->answer(kMessages, body)["content"][0]["type"], "text");
}

// Calls and their results of earlier turns give the prompt that a chat's messages give.
TEST_F(ToolsTest, HistoriesAreThoseOfChats) {
  const Json function = {{"name", "f"}, {"arguments", "{\"a\": 1}"}};
  const Json chat = {{"max_tokens", 6},
                     {"temperature", 0},
                     {"messages",
                      {{{"role", "system"}, {"content", "Be brief."}},
                       {{"role", "user"}, {"content", "Hi"}},
                       {{"role", "assistant"},
                        {"content", "Well"},
                        {"tool_calls", {{{"id", "c1"}, {"type", "function"}, {"function", function}}}}},
                       {{"role", "tool"}, {"tool_call_id", "c1"}, {"content", "2 and 3"}},
                       {{"role", "user"}, {"content", "And?"}}}}};
  const Json expected = toy->answer(kChat, chat);
  const Json responses = toy->answer(
      kResponses,
      {{"max_output_tokens", 6},
       {"temperature", 0},
       {"instructions", "Be brief."},
       {"input",
        {{{"role", "user"}, {"content", "Hi"}},
         {{"type", "message"},
          {"role", "assistant"},
          {"content", {{{"type", "output_text"}, {"text", "Well"}, {"annotations", Json::array()}}}}},
         {{"type", "function_call"}, {"call_id", "c1"}, {"name", "f"}, {"arguments", "{\"a\": 1}"}},
         {{"type", "function_call_output"}, {"call_id", "c1"}, {"output", "2 and 3"}},
         {{"role", "user"}, {"content", "And?"}}}}});
  EXPECT_EQ(responses["usage"]["input_tokens"], expected["usage"]["prompt_tokens"]);
  EXPECT_EQ(responses["output"][0]["content"][0]["text"], expected["choices"][0]["message"]["content"]);
  const Json messages = toy->answer(
      kMessages, {{"max_tokens", 6},
                  {"temperature", 0},
                  {"system", {{{"type", "text"}, {"text", "Be brief."}}}},
                  {"messages",
                   {{{"role", "user"}, {"content", "Hi"}},
                    {{"role", "assistant"},
                     {"content",
                      {{{"type", "text"}, {"text", "Well"}},
                       {{"type", "tool_use"}, {"id", "c1"}, {"name", "f"}, {"input", {{"a", 1}}}}}}},
                    {{"role", "user"},
                     {"content",
                      {{{"type", "tool_result"},
                        {"tool_use_id", "c1"},
                        {"content", {{{"type", "text"}, {"text", "2 and 3"}}}}},
                       {{"type", "text"}, {"text", "And?"}}}}}}}});
  const Json& usage = messages["usage"];
  EXPECT_EQ(usage["input_tokens"].get<int>() + usage["cache_read_input_tokens"].get<int>(),
            expected["usage"]["prompt_tokens"]);
  EXPECT_EQ(messages["content"][0]["text"], expected["choices"][0]["message"]["content"]);
}

TEST_F(ToolsTest, WhatIsWrongIsNamedAsTheCallerWroteIt) {
  EXPECT_NE(
      responses_refusal({{"tools", {{{"type", "web_search"}}}}}, "tools").find("tools[0]: found the type"),
      std::string::npos);
  EXPECT_TRUE(responses_refusal({{"tools", {responses_tool(tool("a b", Json::object()))}}}, "tools")
                  .starts_with("tools[0].name: found"));
  EXPECT_TRUE(
      responses_refusal({{"tools", {{{"type", "function"}, {"name", "f"}, {"parameters", 7}}}}}, "tools")
          .starts_with("tools[0].parameters: found 7"));
  EXPECT_TRUE(
      responses_refusal({{"max_output_tokens", -1}}, "max_output_tokens").starts_with("max_output_tokens: "));
  EXPECT_TRUE(responses_refusal({{"tools", {responses_tool(kAsk)}}, {"tool_choice", {{"type", "mcp"}}}},
                                "tool_choice")
                  .starts_with("tool_choice: found"));
  EXPECT_TRUE(responses_refusal(
                  {{"tools", {responses_tool(kAsk)}}, {"tool_choice", {{"type", "function"}, {"name", "g"}}}},
                  "tool_choice")
                  .ends_with("the name of one of tools"));
  EXPECT_NE(responses_refusal({{"input", {{{"type", "function_call"}, {"name", "f"}}}}}, "input[0]")
                .find("call_id"),
            std::string::npos);
  EXPECT_NE(
      responses_refusal({{"input", {{{"type", "item_reference"}}}}}, "input").find("input[0]: found an item"),
      std::string::npos);
  EXPECT_TRUE(responses_refusal({{"input", {{{"role", "user"}, {"content", {{{"type", "input_image"}}}}}}}},
                                "input[0].content[0]")
                  .starts_with("input[0].content[0]: found a part of type 'input_image'"));
  const Json schema = {{"type", "json_schema"}, {"name", "n"}, {"schema", {{"type", "nonsense"}}}};
  EXPECT_TRUE(
      responses_refusal({{"text", {{"format", schema}}}}, "text.format").starts_with("text.format.schema: "));

  EXPECT_TRUE(
      messages_refusal({{"tools", {{{"name", "f"}}}}}).starts_with("tools[0].input_schema: found null"));
  EXPECT_TRUE(messages_refusal({{"tools", {{{"name", "f"}, {"input_schema", 7}}}}})
                  .starts_with("tools[0].input_schema: found 7"));
  EXPECT_TRUE(messages_refusal({{"tools", {{{"type", "bash_20250124"}, {"name", "bash"}}}}})
                  .starts_with("tools[0]: found the type 'bash_20250124'"));
  EXPECT_TRUE(messages_refusal({{"tools", {messages_tool(kAsk)}}, {"tool_choice", "any"}})
                  .starts_with("tool_choice: "));
  EXPECT_TRUE(messages_refusal({{"stop_sequences", 7}}).starts_with("stop_sequences: found 7"));
  EXPECT_TRUE(messages_refusal({{"thinking", {{"type", "much"}}}}).starts_with("thinking: "));
  EXPECT_TRUE(messages_refusal({{"messages", {{{"role", "user"}, {"content", {{{"type", "image"}}}}}}}})
                  .starts_with("messages[0].content[0]: found a block of type 'image'"));
  EXPECT_TRUE(messages_refusal({{"messages", {{{"role", "tool"}, {"content", "x"}}}}})
                  .starts_with("messages[0].role: found \"tool\""));
}

// A prompt that ends within a think block: a toy never closes it.
TEST(Thoughts, AreItemsOfTheirOwn) {
  ToyService thinker({.jinja = "{% for m in messages %}{{ m.role }}{{ m.content }}{{ m.reasoning_content }}\n"
                               "{% endfor %}<think>{# </think> #}"});
  const Json chat = thinker.answer(
      kChat, {{"messages", {{{"role", "user"}, {"content", "Hi"}}}}, {"max_tokens", 6}, {"temperature", 0}});
  const std::string thought = chat["choices"][0]["message"]["reasoning_content"];
  ASSERT_NE(thought, "");
  EXPECT_EQ(chat["usage"]["completion_tokens_details"]["reasoning_tokens"], 6);
  Json body = {{"input", "Hi"}, {"max_output_tokens", 6}, {"temperature", 0}};
  const Json response = thinker.answer(kResponses, body), item = response["output"][0];
  EXPECT_EQ(response["usage"]["output_tokens_details"]["reasoning_tokens"], 6);
  EXPECT_EQ(item["type"], "reasoning");
  EXPECT_EQ(item["content"][0]["text"], thought);
  body["stream"] = true;
  std::string text;
  for (const Reply& reply : thinker.post(kResponses, json_text(body)))
    if (std::string(reply.event) == "response.reasoning_text.delta")
      text += must(parse_json(reply.text, "event"))["delta"].get<std::string>();
  EXPECT_EQ(text, thought);
  body = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}}, {"max_tokens", 6}, {"temperature", 0}};
  const Json block = thinker.answer(kMessages, body)["content"][0];
  EXPECT_EQ(block["type"], "thinking");
  EXPECT_EQ(block["thinking"], thought);

  // A thought that comes back stands where the template puts it.
  const Json items = {{{"role", "user"}, {"content", "Hi"}},
                      {{"type", "reasoning"}, {"summary", Json::array()}, {"content", {{{"text", "Hm"}}}}},
                      {{"role", "assistant"}, {"content", "Yes"}},
                      {{"role", "user"}, {"content", "Hi"}}};
  const Json with =
      thinker.answer(kResponses, {{"input", items}, {"max_output_tokens", 1}, {"temperature", 0}});
  Json messages = {{{"role", "user"}, {"content", "Hi"}},
                   {{"role", "assistant"}, {"content", "Yes"}, {"reasoning_content", "Hm"}},
                   {{"role", "user"}, {"content", "Hi"}}};
  EXPECT_EQ(
      with["usage"]["input_tokens"],
      thinker.answer(
          kChat, {{"messages", messages}, {"max_tokens", 1}, {"temperature", 0}})["usage"]["prompt_tokens"]);
  messages[1].erase("reasoning_content");
  EXPECT_NE(
      with["usage"]["input_tokens"],
      thinker.answer(
          kChat, {{"messages", messages}, {"max_tokens", 1}, {"temperature", 0}})["usage"]["prompt_tokens"]);
}

}  // namespace
}  // namespace mlc::serve::openai
