// `tools` and `tool_choice` of a chat, and how its template wants calls of earlier turns.
#pragma once

#include "service/openai/fields.h"
#include "service/openai/request.h"

namespace mlc::serve::openai {

// Sets call.form, what the template is given, and, where a call is demanded (required, or a named function),
// the grammar of it.
void read_tools(Fields& fields, const RequestContext& context, CompletionCall& call, RenderOptions& options);

// Calls in read_messages' form -> what the template reads: presets have them as a text, a few templates of
// DeepSeek want arguments as a text.
void fit_tool_calls(const ChatTemplate& chat_template, Json& messages);

// Whether a prompt ends with an opened think block.
bool opens_thinking(std::span<const int32_t> prompt, const Tokenizer& tokenizer);

}  // namespace mlc::serve::openai
