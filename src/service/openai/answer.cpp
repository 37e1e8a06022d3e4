// Answers in OpenAI's form.
#include "service/openai/answer.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace mlc::serve::openai {
namespace {

const std::string& bytes_of(const Tokenizer& tokenizer, int32_t token) {
  static const std::string kNone;
  const auto& bytes = tokenizer.token_bytes();
  return token >= 0 && static_cast<size_t>(token) < bytes.size() ? bytes[static_cast<size_t>(token)] : kNone;
}

// JSON has no minus infinity; OpenAI writes -9999.
Json number(float logprob) { return std::isnan(logprob) ? Json(nullptr) : Json(std::max(logprob, -9999.0f)); }

Json chat_token(const TokenLogprob& token, const Tokenizer& tokenizer) {
  const std::string& bytes = bytes_of(tokenizer, token.token);
  Json list = Json::array();
  for (char c : bytes) list.push_back(static_cast<int>(static_cast<unsigned char>(c)));
  return {{"token", bytes}, {"logprob", number(token.logprob)}, {"bytes", std::move(list)}};
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json head_json(const AnswerHead& head, const char* object, Json choices) {
  return {{"id", head.id},       {"object", object},         {"created", head.created},
          {"model", head.model}, {"system_fingerprint", ""}, {"choices", std::move(choices)}};
}

const char* object_name(const AnswerHead& head, bool chunk) {
  if (!head.chat) return "text_completion";
  return chunk ? "chat.completion.chunk" : "chat.completion";
}

}  // namespace

std::string new_answer_id(bool chat) {
  constexpr char kDigits[] = "0123456789abcdef";
  static thread_local std::mt19937_64 random(std::random_device{}());
  std::string id = chat ? "chatcmpl-" : "cmpl-";
  for (int i = 0; i < 32; ++i) id += kDigits[random() % 16];
  return id;
}

Json usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
          {"extra", nullptr}};
}

Json chat_logprobs(std::span<const Logprobs> tokens, const Tokenizer& tokenizer) {
  Json content = Json::array();
  for (const Logprobs& token : tokens) {
    Json one = chat_token(token.chosen, tokenizer);
    one["top_logprobs"] = Json::array();
    for (const TokenLogprob& other : token.top) one["top_logprobs"].push_back(chat_token(other, tokenizer));
    content.push_back(std::move(one));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json completion_logprobs(std::span<const Logprobs> tokens, const Tokenizer& tokenizer, int64_t& offset) {
  Json offsets = Json::array(), logprobs = Json::array(), texts = Json::array(), tops = Json::array();
  for (const Logprobs& token : tokens) {
    const std::string& bytes = bytes_of(tokenizer, token.chosen.token);
    texts.push_back(bytes);
    offsets.push_back(offset);
    offset += std::ranges::count_if(bytes, [](char c) { return (c & 0xC0) != 0x80; });  // in characters
    logprobs.push_back(number(token.chosen.logprob));
    Json top = nullptr;
    if (!std::isnan(token.chosen.logprob)) {
      top = Json::object();
      for (const TokenLogprob& other : token.top)
        if (const std::string& text = bytes_of(tokenizer, other.token); !top.contains(text))
          top[text] = number(other.logprob);
      if (!top.contains(bytes)) top[bytes] = number(token.chosen.logprob);
    }
    tops.push_back(std::move(top));
  }
  return {{"text_offset", std::move(offsets)},
          {"token_logprobs", std::move(logprobs)},
          {"tokens", std::move(texts)},
          {"top_logprobs", std::move(tops)}};
}

std::string chunk_json(const AnswerHead& head, const ChunkChoice& choice) {
  Json one = {{"index", choice.index}};
  if (head.chat) {
    Json delta = Json::object();
    if (choice.opens) delta["role"] = "assistant";
    const bool other = !choice.reasoning.empty() || !choice.tool_calls.is_null();
    if ((choice.opens && !other) || !choice.text.empty()) delta["content"] = choice.text;
    if (!choice.reasoning.empty()) delta["reasoning_content"] = choice.reasoning;
    if (!choice.tool_calls.is_null()) delta["tool_calls"] = choice.tool_calls;
    one["delta"] = std::move(delta);
  } else {
    one["text"] = choice.text;
  }
  one["logprobs"] = choice.logprobs;
  one["finish_reason"] = text_or_null(choice.finish_reason);
  if (!choice.stop_string.empty()) one["stop_reason"] = choice.stop_string;
  Json chunk = head_json(head, object_name(head, true), Json::array({std::move(one)}));
  if (head.include_usage) chunk["usage"] = nullptr;
  return json_text(chunk);
}

std::string usage_chunk_json(const AnswerHead& head, const Usage& usage) {
  Json chunk = head_json(head, object_name(head, true), Json::array());
  chunk["usage"] = usage_json(usage);
  return json_text(chunk);
}

std::string answer_json(const AnswerHead& head, std::span<const WholeChoice> choices, const Usage& usage) {
  Json list = Json::array();
  for (const WholeChoice& choice : choices) {
    Json one = {{"index", list.size()}};
    if (head.chat) {
      const bool calls = !choice.tool_calls.is_null();
      one["message"] = {{"role", "assistant"},
                        {"content", calls ? text_or_null(choice.text) : Json(choice.text)},
                        {"refusal", nullptr},
                        {"name", nullptr},
                        {"tool_calls", choice.tool_calls},
                        {"tool_call_id", nullptr}};
      if (!choice.reasoning.empty()) one["message"]["reasoning_content"] = choice.reasoning;
    } else {
      one["text"] = choice.text;
    }
    one["logprobs"] = choice.logprobs;
    one["finish_reason"] = text_or_null(choice.finish_reason);
    one["stop_reason"] = text_or_null(choice.stop_string);
    list.push_back(std::move(one));
  }
  Json answer = head_json(head, object_name(head, false), std::move(list));
  answer["usage"] = usage_json(usage);
  return json_text(answer);
}

}  // namespace mlc::serve::openai
