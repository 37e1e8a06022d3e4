// The messages of a chat request: checked, and in the form that chat templates read.
#pragma once

#include "service/openai/api_error.h"

namespace mlc::serve::openai {

// `messages` as it came -> a list of {role, content} with text contents: parts are joined, "developer" is
// "system". Assistant messages keep their tool_calls, with arguments as objects, tool messages their
// tool_call_id and name. Errors name the message and the field; a system message stands first or nowhere;
// images and audio are refused (neither is built).
ApiError read_messages(const Json& messages, Json& result);

// A text, or a list of parts of text, which are joined. Errors name the part below `path`.
ApiError read_text(const Json& content, const std::string& path, std::string& text);

}  // namespace mlc::serve::openai
