// What a caller did wrong, or what went wrong here, as OpenAI's API says it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/json.h"

namespace mlc::serve::openai {

struct ApiError {
  int status = 0;       // of HTTP; 0: no error
  std::string message;  // one sentence: the field, what was found, what was expected
  std::string param;    // the field, "" for none
  std::string code;     // "model_not_found", ..., "" for none

  bool is_error() const { return status != 0; }
  // {"error": {message, type, param, code}}, and message and code once more as MLC LLM's clients look for
  // them.
  std::string json() const;
};

// 400 about a field; the message starts with its name.
ApiError bad_field(std::string param, std::string message);
// 400: "<field>: found <value>, expected <expected>".
ApiError wrong_value(std::string param, const Json& found, const std::string& expected);

// A field's name in the request that was read, and in the one that its caller wrote. One that begins with a
// dot stands behind others.
struct FieldName {
  std::string_view read, written;
};
// The error with the caller's names in `param` and at the front of its message.
ApiError renamed(ApiError error, std::span<const FieldName> names);

// 404 about `model`.
ApiError no_model(std::string message);
// A text of a stranger's within a sentence.
std::string shown_model(std::string_view name);

}  // namespace mlc::serve::openai
