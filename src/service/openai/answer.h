// The JSON of answers: whole ones, and the chunks of streams (mlc-facts 8.7). Fields without a value are
// null.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "chat/tokenizer/tokenizer.h"
#include "serve/request.h"

namespace mlc::serve::openai {

// What all chunks of an answer share.
struct AnswerHead {
  bool chat = false, include_usage = false;
  std::string id, model;
  int64_t created = 0;  // seconds since 1970
};

struct Usage {
  int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;
  int64_t reasoning_tokens = 0;  // of the completion, those within what it thinks, its tags included
};

// "chatcmpl-" or "cmpl-" and 32 hexadecimal digits.
std::string new_answer_id(bool chat);
Json usage_json(const Usage& usage);

// `logprobs` of a chat choice.
Json chat_logprobs(std::span<const Logprobs> tokens, const Tokenizer& tokenizer);
// Of a completion choice. `offset`: where its first token's text begins, moved behind the last. A token whose
// `chosen` is not a number (the first of a prompt) has null.
Json completion_logprobs(std::span<const Logprobs> tokens, const Tokenizer& tokenizer, int64_t& offset);

// A choice of a chunk: new text, its logprobs or null, and why it ended, "" while it has not. `opens`: it is
// the first of its choice.
struct ChunkChoice {
  int64_t index = 0;
  std::string text;
  Json logprobs;
  std::string finish_reason;
  bool opens = false;
  std::string reasoning = {};
  Json tool_calls = nullptr;     // of a delta
  std::string stop_string = {};  // of the caller's, that ended it; "" for none
};
std::string chunk_json(const AnswerHead& head, const ChunkChoice& choice);
// The last chunk where usage is wanted.
std::string usage_chunk_json(const AnswerHead& head, const Usage& usage);

struct WholeChoice {
  std::string text, finish_reason, stop_string, reasoning;
  Json logprobs;
  Json tool_calls = nullptr;
};
std::string answer_json(const AnswerHead& head, std::span<const WholeChoice> choices, const Usage& usage);

}  // namespace mlc::serve::openai
