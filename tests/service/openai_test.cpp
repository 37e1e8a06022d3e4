// The API without a transport, on a toy model: answers, streams, choices, log probabilities, cancels, errors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <future>
#include <random>

#include "support/toy_service.h"

namespace mlc::serve::openai {
namespace {

using testing::Collected;
using testing::must;
using testing::ToyService;

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kCompletions = "/v1/completions";

Json chat_body(int64_t max_tokens = 8) {
  return {{"messages", {{{"role", "user"}, {"content", "Hi there"}}}},
          {"max_tokens", max_tokens},
          {"temperature", 0}};
}

Json completion_body(int64_t max_tokens = 8) {
  return {{"prompt", "The meaning of life is"}, {"max_tokens", max_tokens}, {"temperature", 0}};
}

class OpenAiTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { toy = new ToyService({}); }
  static void TearDownTestSuite() { delete toy; }

  // The message of a request that is refused; `param` is the field it names.
  static std::string refusal(const char* path, const Json& body, const std::string& param, int status = 400) {
    const Json answer = toy->answer(path, body, status);
    const Json& error = answer["error"];
    EXPECT_EQ(error["param"], param.empty() ? Json(nullptr) : Json(param)) << json_text(answer);
    EXPECT_EQ(error["type"], status == 404 ? "not_found_error" : "invalid_request_error");
    return error["message"].get<std::string>();
  }
  static std::string chat_refusal(const char* field, const Json& value) {
    Json body = chat_body();
    body[field] = value;
    return refusal(kChat, body, field);
  }
  // A stream's text, after its form was checked.
  static std::string streamed(const char* path, Json body, Json* usage = nullptr) {
    body["stream"] = true;
    std::string text, finish;
    const auto replies = toy->post(path, json_text(body));
    for (size_t i = 0; i < replies.size(); ++i) {
      EXPECT_TRUE(replies[i].stream);
      EXPECT_EQ(replies[i].last, i + 1 == replies.size());
      if (replies[i].last) {
        EXPECT_EQ(replies[i].text, "");
        break;
      }
      const Json chunk = must(parse_json(replies[i].text, "chunk"));
      if (chunk["choices"].empty()) {
        if (usage) *usage = chunk["usage"];
        continue;
      }
      const Json& choice = chunk["choices"][0];
      EXPECT_EQ(finish, "") << "a chunk after the end";
      if (choice.contains("text")) text += choice["text"].get<std::string>();
      if (choice.contains("delta")) text += find_string(choice["delta"], "content").value_or("");
      if (choice["finish_reason"].is_string()) finish = choice["finish_reason"];
    }
    EXPECT_NE(finish, "");
    return text;
  }

  static ToyService* toy;
};
ToyService* OpenAiTest::toy = nullptr;

TEST_F(OpenAiTest, ChatAnswers) {
  const Json answer = toy->answer(kChat, chat_body());
  EXPECT_EQ(answer["object"], "chat.completion");
  EXPECT_TRUE(answer["id"].get<std::string>().starts_with("chatcmpl-"));
  EXPECT_EQ(answer["model"], "toy");
  ASSERT_EQ(answer["choices"].size(), 1u);
  EXPECT_EQ(answer["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(answer["choices"][0]["logprobs"], nullptr);
  const Json& usage = answer["usage"];
  EXPECT_EQ(usage["completion_tokens"], 8);
  EXPECT_EQ(usage["total_tokens"].get<int>(), usage["prompt_tokens"].get<int>() + 8);
  EXPECT_EQ(usage["completion_tokens_details"]["reasoning_tokens"], 0);
  EXPECT_EQ(answer["choices"][0]["message"]["content"], streamed(kChat, chat_body()));
}

TEST_F(OpenAiTest, CompletionAnswersAndEchoes) {
  const Json answer = toy->answer(kCompletions, completion_body());
  EXPECT_EQ(answer["object"], "text_completion");
  const std::string text = answer["choices"][0]["text"];
  Json body = completion_body();
  body["echo"] = true;
  EXPECT_EQ(toy->answer(kCompletions, body)["choices"][0]["text"], "The meaning of life is" + text);
  Json usage;
  body["stream_options"] = {{"include_usage", true}};
  EXPECT_EQ(streamed(kCompletions, body, &usage), "The meaning of life is" + text);
  EXPECT_EQ(usage["completion_tokens"], 8);
  body = completion_body();
  body["prompt"] = must(toy->tokenizer->encode("The meaning of life is"));
  EXPECT_EQ(toy->answer(kCompletions, body)["choices"][0]["text"], text);
}

// Choices of one prompt are what its lone requests with their seeds give, and share its computed prompt.
TEST_F(OpenAiTest, ChoicesAreRequestsOfTheirOwn) {
  Json body = chat_body(6);
  body["temperature"] = 1.5;
  body["seed"] = 10;
  body["n"] = 3;
  const Json answer = toy->answer(kChat, body);
  ASSERT_EQ(answer["choices"].size(), 3u);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 18);
  body.erase("n");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(answer["choices"][static_cast<size_t>(i)]["index"], i);
    body["seed"] = 10 + i + 1;
    EXPECT_EQ(toy->answer(kChat, body)["choices"][0]["message"]["content"],
              answer["choices"][static_cast<size_t>(i)]["message"]["content"]);
  }
}

TEST_F(OpenAiTest, SeveralPromptsAreAnsweredInOrder) {
  const std::vector<std::string> prompts = {"One", "Two and", "Three and more"};
  Json body = completion_body();
  body["prompt"] = prompts;
  body["n"] = 2;
  const Json answer = toy->answer(kCompletions, body);
  ASSERT_EQ(answer["choices"].size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    Json alone = completion_body();
    alone["prompt"] = prompts[i / 2];
    EXPECT_EQ(toy->answer(kCompletions, alone)["choices"][0]["text"], answer["choices"][i]["text"]) << i;
  }
}

TEST_F(OpenAiTest, StopStringsEndAnswers) {
  const std::string text = toy->answer(kCompletions, completion_body(24))["choices"][0]["text"];
  ASSERT_GT(text.size(), 8u);
  size_t at = 1;  // of three letters: a stop string that cuts a character leaves half of it
  auto is_letter = [&](size_t i) { return text[i] >= 'a' && text[i] <= 'z'; };
  while (at + 3 < text.size() && !(is_letter(at) && is_letter(at + 1) && is_letter(at + 2))) ++at;
  ASSERT_LT(at + 3, text.size());
  const std::string stop = text.substr(at, 3);
  Json body = completion_body(24);
  for (const Json& given : {Json(stop), Json::array({"no such text", stop})}) {
    body["stop"] = given;
    const Json answer = toy->answer(kCompletions, body);
    EXPECT_EQ(answer["choices"][0]["text"], text.substr(0, text.find(stop)));
    EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
    EXPECT_EQ(streamed(kCompletions, body), text.substr(0, text.find(stop)));
  }
}

TEST_F(OpenAiTest, SuffixesStandBehindAnswers) {
  const std::string text = toy->answer(kCompletions, completion_body())["choices"][0]["text"];
  Json body = completion_body();
  body["suffix"] = " and so on";
  EXPECT_EQ(toy->answer(kCompletions, body)["choices"][0]["text"], text + " and so on");
  EXPECT_EQ(streamed(kCompletions, body), text + " and so on");
}

// Events of a stream, whose name each repeats as its type.
std::vector<Json> events_of(const std::vector<Reply>& replies) {
  std::vector<Json> events;
  for (const Reply& reply : replies) {
    EXPECT_TRUE(reply.stream);
    EXPECT_STRNE(reply.event, "");
    if (reply.last) break;
    events.push_back(must(parse_json(reply.text, "event")));
    EXPECT_EQ(events.back()["type"], reply.event);
  }
  return events;
}

TEST_F(OpenAiTest, Responses) {
  const std::string text = toy->answer(kChat, chat_body())["choices"][0]["message"]["content"];
  Json body = {{"input", "Hi there"}, {"max_output_tokens", 8}, {"temperature", 0}};
  const Json whole = toy->answer("/v1/responses", body);
  EXPECT_EQ(whole["object"], "response");
  EXPECT_EQ(whole["status"], "incomplete");
  EXPECT_EQ(whole["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(whole["output"][0]["content"][0]["text"], text);
  EXPECT_EQ(whole["usage"]["output_tokens"], 8);
  body["input"] = {{{"role", "user"}, {"content", {{{"type", "input_text"}, {"text", "Hi there"}}}}}};
  EXPECT_EQ(toy->answer("/v1/responses", body)["output"][0]["content"][0]["text"], text);
  body["stream"] = true;
  const auto events = events_of(toy->post("/v1/responses", json_text(body)));
  std::string streamed_text;
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i]["sequence_number"], i);
    if (events[i]["type"] == "response.output_text.delta")
      streamed_text += events[i]["delta"].get<std::string>();
  }
  EXPECT_EQ(streamed_text, text);
  EXPECT_EQ(events.front()["type"], "response.created");
  EXPECT_EQ(events.back()["type"], "response.incomplete");
  EXPECT_EQ(events.back()["response"]["output"][0]["content"][0]["text"], text);
  refusal("/v1/responses", {{"input", "x"}, {"previous_response_id", "resp_1"}}, "previous_response_id");
  refusal("/v1/responses", {{"input", 7}}, "input");
}

TEST_F(OpenAiTest, AnthropicMessages) {
  const std::string text = toy->answer(kChat, chat_body())["choices"][0]["message"]["content"];
  Json body = chat_body();
  const Json whole = toy->answer("/v1/messages", body);
  EXPECT_EQ(whole["type"], "message");
  EXPECT_EQ(whole["content"][0]["text"], text);
  EXPECT_EQ(whole["stop_reason"], "max_tokens");
  EXPECT_EQ(whole["usage"]["output_tokens"], 8);
  body["stream"] = true;
  const auto events = events_of(toy->post("/v1/messages", json_text(body)));
  std::string streamed_text;
  for (const Json& event : events)
    if (event["type"] == "content_block_delta") streamed_text += event["delta"]["text"].get<std::string>();
  EXPECT_EQ(streamed_text, text);
  EXPECT_EQ(events.front()["type"], "message_start");
  EXPECT_EQ(events.back()["type"], "message_stop");
  EXPECT_EQ(events[events.size() - 2]["delta"]["stop_reason"], "max_tokens");
  body.erase("stream");
  const auto letter = std::ranges::find_if(text, [](char c) { return c >= ' ' && c <= '~'; });
  ASSERT_NE(letter, text.end());
  body["stop_sequences"] = {std::string(1, *letter)};
  const Json stopped = toy->answer("/v1/messages", body);
  EXPECT_EQ(stopped["stop_reason"], "stop_sequence");
  EXPECT_EQ(stopped["stop_sequence"], std::string(1, *letter));
  body.erase("max_tokens");
  const Json refused = toy->answer("/v1/messages", body, 400);
  EXPECT_EQ(refused["type"], "error");
  EXPECT_TRUE(refused["error"]["message"].get<std::string>().starts_with("max_tokens: found null"));
}

TEST_F(OpenAiTest, BiasAndLogprobs) {
  Json body = chat_body(4);
  body["logprobs"] = true;
  body["top_logprobs"] = 5;
  const Json logprobs = toy->answer(kChat, body)["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(logprobs.size(), 4u);
  for (const Json& token : logprobs) {
    ASSERT_EQ(token["top_logprobs"].size(), 5u);
    EXPECT_EQ(token["logprob"], token["top_logprobs"][0]["logprob"]);  // greedy
    double sum = 0;
    for (const Json& other : token["top_logprobs"]) sum += std::exp(other["logprob"].get<double>());
    EXPECT_LE(sum, 1 + 1e-5);
  }
  // The second best wins when it is pushed; log probabilities are the model's own all the same.
  const int32_t eleven = 311;
  body = {{"prompt", "Go"}, {"max_tokens", 3}, {"logit_bias", {{str(eleven), 100}}}, {"logprobs", 1}};
  const Json pushed = toy->answer(kCompletions, body)["choices"][0];
  for (const Json& token : pushed["logprobs"]["tokens"])
    EXPECT_EQ(token, toy->tokenizer->token_bytes()[static_cast<size_t>(eleven)]);
  EXPECT_LT(pushed["logprobs"]["token_logprobs"][0].get<double>(), -0.1);
}

// The log probability of each prompt token is that of the answer's token when the prompt ends before it.
TEST_F(OpenAiTest, LogprobsOfPrompts) {
  std::vector<int32_t> prompt;
  for (int i = 0; i < 90; ++i) prompt.push_back(3 + (i * 37) % 400);  // more than one step's rows
  Json body = {{"prompt", prompt}, {"max_tokens", 0}, {"echo", true}, {"logprobs", 1}, {"temperature", 0}};
  const Json whole = toy->answer(kCompletions, body)["choices"][0]["logprobs"];
  ASSERT_EQ(whole["tokens"].size(), prompt.size());
  EXPECT_EQ(whole["token_logprobs"][0], nullptr);
  EXPECT_EQ(whole["top_logprobs"][0], nullptr);
  for (size_t length : {1u, 40u, 64u, 89u}) {
    body["prompt"] = std::vector<int32_t>(prompt.begin(), prompt.begin() + static_cast<ptrdiff_t>(length));
    body["max_tokens"] = 1;
    body["echo"] = false;
    const Json next = toy->answer(kCompletions, body)["choices"][0]["logprobs"];
    // Rows of a batch are summed in another order: 1e-3 of a logit of size 10.
    const std::string best = next["tokens"][0];
    ASSERT_TRUE(whole["top_logprobs"][length].contains(best)) << length;
    EXPECT_NEAR(whole["top_logprobs"][length][best].get<double>(), next["token_logprobs"][0].get<double>(),
                1e-2);
  }
}

TEST_F(OpenAiTest, CancelEndsACall) {
  Collected collected;
  Json body = chat_body(150);
  body["stream"] = true;
  body["n"] = 2;
  // The engine's thread waits in the third reply until the call is cancelled. After the last reply, which
  // lets the test end, nothing of the test's is touched.
  std::promise<void> cancelled;
  auto hold = [reply = collected.callback(), count = 0,
               done = cancelled.get_future().share()](const auto&... r) mutable {
    const bool third = ++count == 3;
    reply(r...);
    if (third) done.wait();
  };
  const CallId id = toy->service->submit(kChat, json_text(body), hold);
  toy->service->cancel(id);
  cancelled.set_value();
  const auto& replies = collected.all();
  EXPECT_LT(replies.size(), 250u);
  EXPECT_NE(replies[replies.size() - 2].text.find("\"abort\""), std::string::npos);
  toy->service->cancel(id);  // once more, and one that never was
  toy->service->cancel(12345678);
  EXPECT_EQ(toy->service->active(), 0u);
}

TEST_F(OpenAiTest, EveryWrongFieldIsNamed) {
  EXPECT_EQ(chat_refusal("temperature", -1), "temperature: found -1, expected a number from 0 to 1e+06");
  EXPECT_EQ(chat_refusal("temperature", "hot"),
            "temperature: found \"hot\", expected a number from 0 to 1e+06");
  EXPECT_EQ(chat_refusal("top_p", 1.5), "top_p: found 1.5, expected a number from 0 to 1");
  EXPECT_EQ(chat_refusal("n", 0), "n: found 0, expected a whole number from 1 to 128");
  EXPECT_EQ(chat_refusal("n", 1e9), "n: found 1000000000.0, expected a whole number from 1 to 128");
  EXPECT_EQ(chat_refusal("max_tokens", -5), "max_tokens: found -5, expected a whole number of 0 or more");
  EXPECT_EQ(chat_refusal("stream", 1), "stream: found 1, expected true or false");
  EXPECT_EQ(chat_refusal("stop", 7), "stop: found 7, expected a string or a list of strings");
  EXPECT_EQ(chat_refusal("stop", std::vector<std::string>(17, "x")),
            "stop: found 17 strings, expected at most 16");
  EXPECT_EQ(chat_refusal("logit_bias", {{"a", 1}}), "logit_bias: found \"a\", expected token ids as keys");
  EXPECT_EQ(chat_refusal("logit_bias", {{"3", 101}}),
            "logit_bias: found 101, expected a number from -100 to 100 for each token");
  EXPECT_EQ(chat_refusal("top_logprobs", 21), "top_logprobs: found 21, expected a whole number from 0 to 20");
  EXPECT_EQ(chat_refusal("top_logprobs", 2),
            "top_logprobs: found without logprobs, expected \"logprobs\": true");
  EXPECT_EQ(chat_refusal("stream_options", Json::object()),
            "stream_options: found without stream, expected \"stream\": true");
  EXPECT_EQ(chat_refusal("messages", Json::array()),
            "messages: found \"an empty list\", expected a list of at least one message");
  EXPECT_EQ(chat_refusal("temperatur", 1), "temperatur: unknown field; did you mean 'temperature'?");
  EXPECT_EQ(chat_refusal("logit_bias", {{"99999999", 1}}),
            str("logit_bias: token 99999999 is outside of the vocabulary of ", toy->models[0]->vocab_size()));
  Json body = completion_body();
  body["logprobs"] = 6;
  EXPECT_EQ(refusal(kCompletions, body, "logprobs"),
            "logprobs: found 6, expected a whole number from 0 to 5");
  body.erase("logprobs");
  body["best_of"] = 2;
  EXPECT_TRUE(refusal(kCompletions, body, "best_of")
                  .ends_with("Request fields \"best_of\" are not supported right now."));
  body.erase("best_of");
  body["prompt"] = {1, "x"};
  EXPECT_EQ(refusal(kCompletions, body, "prompt"), "prompt: found \"x\", expected token ids");
  body["prompt"] = {1, 99999999};
  EXPECT_NE(refusal(kCompletions, body, "prompt").find("outside of the vocabulary"), std::string::npos);
}

TEST_F(OpenAiTest, WhatIsNotBuiltIsRefused) {
  EXPECT_NE(chat_refusal("functions", {{{"name", "f"}}}).find("use tools"), std::string::npos);
  EXPECT_NE(chat_refusal("guided_regex", "a").find("use response_format"), std::string::npos);
  EXPECT_NE(chat_refusal("debug_config", {{"ignore_eos", true}}).find("--enable-debug"), std::string::npos);
  Json body = chat_body();
  body["response_format"] = {{"type", "text"}};
  body["tools"] = Json::array();
  body["tool_choice"] = "none";
  body["user"] = "somebody";
  body["an_unknown_field"] = 1;
  EXPECT_EQ(toy->answer(kChat, body)["choices"].size(), 1u);
  ASSERT_EQ(toy->notes.size(), 1u);
  EXPECT_NE(toy->notes[0].find("an_unknown_field"), std::string::npos);
}

TEST_F(OpenAiTest, Messages) {
  Json body = chat_body();
  body["messages"] = {{{"role", "user"}, {"content", "x"}}, {{"role", "system"}, {"content", "y"}}};
  EXPECT_TRUE(refusal(kChat, body, "messages[1]")
                  .starts_with("System prompt at position 1 in the message list is invalid."));
  body["messages"] = {{{"role", "robot"}, {"content", "x"}}};
  EXPECT_EQ(refusal(kChat, body, "messages[0].role"),
            "messages[0].role: found \"robot\", expected system, user, assistant or tool");
  body["messages"] = {{{"role", "user"}}};
  refusal(kChat, body, "messages[0].content");
  body["messages"] = {{{"role", "user"}, {"content", {{{"type", "image_url"}, {"image_url", {}}}}}}};
  EXPECT_NE(refusal(kChat, body, "messages[0].content[0]").find("image_url"), std::string::npos);
  // Parts of text are one text.
  body["messages"] = {{{"role", "user"}, {"content", "Hi there"}}};
  const Json whole = toy->answer("/tokenize", {{"messages", body["messages"]}});
  body["messages"] = {
      {{"role", "user"},
       {"content", {{{"type", "text"}, {"text", "Hi "}}, {{"type", "text"}, {"text", "there"}}}}}};
  EXPECT_EQ(toy->answer("/tokenize", {{"messages", body["messages"]}}), whole);
}

TEST_F(OpenAiTest, LongPrompts) {
  Json body = {{"prompt", std::vector<int32_t>(500, 5)}};
  const Json answer = toy->answer(kCompletions, body, 400);
  EXPECT_TRUE(answer["error"]["message"].get<std::string>().starts_with(
      "Request prompt has 500 tokens in total, larger than the model input length limit 199"));
  EXPECT_EQ(answer["error"]["code"], "context_length_exceeded");
  EXPECT_EQ(answer["error"]["param"], "prompt");
  EXPECT_EQ(answer["object"], "error");  // as MLC LLM's clients look for it
}

TEST_F(OpenAiTest, BodiesThatAreNoRequests) {
  for (const char* body : {"", "{", "[1]", "7", "\xFF\xFE{}", "{\"messages\": ", "null"}) {
    const auto replies = toy->post(kChat, body);
    ASSERT_EQ(replies.size(), 1u);
    EXPECT_EQ(replies[0].status, 400) << body;
    EXPECT_TRUE(must(parse_json(replies[0].text, "error"))["error"]["message"].is_string());
  }
  EXPECT_EQ(toy->post(kChat, std::string(5000, '['))[0].status, 400);
  EXPECT_EQ(toy->post("/v1/nothing", "{}")[0].status, 404);
  EXPECT_EQ(toy->post("/debug/reset_engine", "{}")[0].status, 404);
}

TEST_F(OpenAiTest, OtherPaths) {
  const Json models = must(parse_json(toy->service->get("/v1/models").text, "models"));
  EXPECT_EQ(models["object"], "list");
  EXPECT_EQ(models["data"][0]["id"], "toy");
  EXPECT_EQ(toy->service->get("/v1/models/toy").status, 200);
  EXPECT_EQ(toy->service->get("/v1/models/other").status, 404);
  EXPECT_EQ(toy->service->get("/health").status, 200);
  EXPECT_EQ(toy->service->get("/v1/completions").status, 405);
  const std::string text = "Hello, w\xC3\xB6rld";
  const Json tokens = toy->answer("/tokenize", {{"prompt", text}});
  EXPECT_EQ(tokens["count"], tokens["tokens"].size());
  EXPECT_EQ(toy->answer("/detokenize", {{"tokens", tokens["tokens"]}})["prompt"],
            must(toy->tokenizer->decode(must(toy->tokenizer->encode(text)))));
  EXPECT_EQ(refusal("/detokenize", {{"tokens", {-1}}}, "tokens").substr(0, 16), "tokens: found -1");
  toy->answer(kChat, chat_body());
  const std::string metrics = toy->service->get("/metrics").text;
  for (const char* name :
       {"engine_prefill_time_sum\t", "decode_tokens_sum\t", "last_finished_request_ttft_s\t"})
    EXPECT_NE(metrics.find(name), std::string::npos) << name;
}

// Hundreds of requests at once, some cancelled: each answer that ended by itself is its lone run's, and those
// that were cut begin as it does.
TEST(OpenAiSoak, AnswersStayApart) {
  ToyService toy({.deterministic = true});
  std::mt19937 random(5);
  auto body_of = [](int kind) {
    Json body = {
        {"max_tokens", 4 + kind % 13}, {"seed", kind}, {"temperature", kind % 3}, {"n", 1 + kind % 2}};
    body["prompt"] = std::vector<int32_t>(static_cast<size_t>(1 + kind * 5 % 60), 3 + kind);
    body["prompt"].push_back(kind);
    if (kind % 5 == 0) body["frequency_penalty"] = 1.0;
    if (kind % 7 == 0) body["top_k"] = 4;
    return body;
  };
  auto texts_of = [](const Json& answer) {
    std::vector<std::string> texts;
    for (const Json& choice : answer["choices"]) texts.push_back(choice["text"]);
    return texts;
  };
  constexpr int kKinds = 24, kRequests = 300;
  std::vector<std::vector<std::string>> expected;
  for (int kind = 0; kind < kKinds; ++kind)
    expected.push_back(texts_of(toy.answer(kCompletions, body_of(kind))));
  std::vector<std::unique_ptr<Collected>> calls;
  std::vector<int> kinds;
  for (int i = 0; i < kRequests; ++i) {
    kinds.push_back(static_cast<int>(random() % kKinds));
    calls.push_back(std::make_unique<Collected>());
    Json body = body_of(kinds.back());
    if (random() % 10 == 0) body["temperature"] = "bad";
    const CallId id = toy.service->submit(kCompletions, json_text(body), calls.back()->callback());
    if (random() % 4 == 0) toy.service->cancel(id);
  }
  int whole = 0, cut = 0, refused = 0;
  for (int i = 0; i < kRequests; ++i) {
    const auto& replies = calls[static_cast<size_t>(i)]->all();
    ASSERT_EQ(replies.size(), 1u);
    if (replies[0].status == 400) {
      ++refused;
      continue;
    }
    ASSERT_EQ(replies[0].status, 200) << replies[0].text;
    const Json answer = must(parse_json(replies[0].text, "answer"));
    const auto texts = texts_of(answer);
    const auto& lone = expected[static_cast<size_t>(kinds[static_cast<size_t>(i)])];
    ASSERT_EQ(texts.size(), lone.size());
    for (size_t c = 0; c < texts.size(); ++c) {
      const bool aborted = answer["choices"][c]["finish_reason"] == "abort";
      (aborted ? cut : whole)++;
      EXPECT_EQ(texts[c], aborted ? lone[c].substr(0, texts[c].size()) : lone[c]) << "request " << i;
    }
  }
  EXPECT_GT(whole, 100);
  EXPECT_GT(cut, 10);
  EXPECT_GT(refused, 5);
  EXPECT_EQ(toy.service->active(), 0u);
  toy.service->shutdown(std::chrono::seconds(5));
  EXPECT_EQ(toy.post(kCompletions, R"({"prompt": "x"})")[0].status, 503);
}

TEST(OpenAiModels, OfSeveralTheNameChooses) {
  ToyService toy({.limits = {.debug = true}, .ids = {"one", "two"}});
  Json body = chat_body(3);
  body["model"] = "two";
  EXPECT_EQ(toy.answer(kChat, body)["model"], "two");
  body["model"] = "three";
  EXPECT_EQ(toy.answer(kChat, body, 404)["error"]["message"],
            "model: found 'three', expected one of one, two");
  body["model"] = "one:tuned";
  EXPECT_EQ(toy.answer(kChat, body, 404)["error"]["message"],
            "model: no adapter 'tuned' of 'one' is loaded; there is none");
  body["model"] = "one";
  body["debug_config"] = {{"ignore_eos", true}};
  EXPECT_EQ(toy.answer(kChat, body)["usage"]["completion_tokens"], 3);
  EXPECT_TRUE(toy.answer("/debug/dump_engine_metrics", Json::object()).contains("one"));
  EXPECT_EQ(toy.answer("/debug/reset_engine", Json::object()), Json::object());
}

}  // namespace
}  // namespace mlc::serve::openai
