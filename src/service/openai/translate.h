// Other forms of a chat, as a chat completion and back: OpenAI's /v1/responses and
// Anthropic's /v1/messages. A body becomes that of /v1/chat/completions; its replies become theirs.
#pragma once

#include "service/openai/api_error.h"
#include "service/openai/reply.h"

namespace mlc::serve::openai {

// Errors name the fields of `body`; what has no counterpart and would change the answer is refused.
ApiError responses_to_chat(const Json& body, Json& chat);
ApiError messages_to_chat(const Json& body, Json& chat);
// What is wrong with the chat, in the names of the body's fields.
ApiError responses_error(ApiError error);
ApiError messages_error(ApiError error);

// `reply` made to take the replies of the chat completion that `body` became.
ReplyCallback responses_reply(const Json& body, ReplyCallback reply);
ReplyCallback messages_reply(ReplyCallback reply);

// An error in Anthropic's form.
std::string anthropic_error_json(int status, const std::string& message);

}  // namespace mlc::serve::openai
