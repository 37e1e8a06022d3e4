// Bodies of /v1/chat/completions and /v1/completions -> what the engine is asked (mlc-facts 8.7).
//
// A request's text is data from a stranger: each number is checked against its range, each list against a
// limit, and what would change an answer but is not built is refused by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "chat/grammar/grammar.h"
#include "chat/template/chat_template.h"
#include "chat/tools/answer_parser.h"
#include "serve/sample/generation_config.h"
#include "service/openai/api_error.h"

namespace mlc::serve::openai {

struct ApiLimits {
  int64_t choices = 128;      // of one request: n times its prompts
  int64_t stops = 16;         // stop strings
  int64_t stop_bytes = 1024;  // of each
  int64_t biases = 1024;      // entries of logit_bias
  int64_t top_logprobs = 20;
  int64_t max_tokens = 0;  // of an answer; 0: as many as the context holds
  int64_t tools = 128;     // functions of a request
  GrammarLimits grammar;
  int64_t embedding_inputs = 2048;  // of one request
  bool debug = false;         // debug_config is read, else refused
  bool lora_loading = false;  // /v1/load_lora_adapter opens folders of this machine
};

// What a request is read against.
struct RequestContext {
  const Tokenizer& tokenizer;
  const ChatTemplate& chat_template;  // its errors start with "messages"
  const GenerationConfig& defaults;
  const ApiLimits& limits;
  const GrammarCompiler& grammars;
};

// What a request asks for. Its answer has prompts x n choices, those of a prompt beside one another.
struct CompletionCall {
  bool chat = false, stream = false, include_usage = false, echo = false;
  int64_t n = 1;
  GenerationConfig config;
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::string> prompt_texts;  // with echo
  std::string suffix;                     // put behind each choice
  AnswerForm form;                        // of a chat: how its answer is read
  std::string adapter;                    // a LoRA adapter of the model, that answers; "": none
  std::ptrdiff_t own_stops = 0;           // of the stop strings the first so many are the model's own
  std::vector<std::string> unknown;       // fields that were ignored

  const char* prompt_field() const { return chat ? "messages" : "prompt"; }
  // The settings of choice i of a prompt: its seed is the request's, or with n > 1 that + i + 1.
  GenerationConfig choice_config(int64_t i) const;
};

// The body of a request; 400 where it is no JSON object.
ApiError parse_body(std::string_view body, Json& object);
// Its `model`; 400 where it is no text.
ApiError parse_model(const Json& object, std::string& model);
ApiError parse_chat(const Json& object, const RequestContext& context, CompletionCall& call);
ApiError parse_completion(const Json& object, const RequestContext& context, CompletionCall& call);

}  // namespace mlc::serve::openai
