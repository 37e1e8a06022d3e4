// Errors in OpenAI's form.
#include "service/openai/api_error.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc::serve::openai {
namespace {

const char* type_of(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    default: return status < 500 ? "invalid_request_error" : "server_error";
  }
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

std::string renamed_path(const std::string& path, std::span<const FieldName> names) {
  for (const FieldName& name : names) {
    const size_t at = name.read.starts_with('.') ? path.find(name.read) : 0;
    if (at == path.npos || !std::string_view(path).substr(at).starts_with(name.read)) continue;
    const std::string rest = path.substr(at + name.read.size());
    if (rest.empty() || rest[0] == '.' || rest[0] == '[') return str(path.substr(0, at), name.written, rest);
  }
  return path;
}

}  // namespace

std::string ApiError::json() const {
  Json error = {{"message", message},
                {"type", type_of(status)},
                {"param", text_or_null(param)},
                {"code", text_or_null(code)}};
  return json_text(
      {{"error", std::move(error)}, {"object", "error"}, {"message", message}, {"code", status}});
}

ApiError bad_field(std::string param, std::string message) {
  return {.status = 400,
          .message = Status::error(message).message(),  // printable
          .param = std::move(param),
          .code = ""};
}

ApiError wrong_value(std::string param, const Json& found, const std::string& expected) {
  constexpr size_t kShown = 60;  // bytes
  std::string text = found.is_structured() ? std::string(found.type_name()) : json_text(found);
  if (text.size() > kShown) text = text.substr(0, kShown) + "...";
  std::string message = str(param, ": found ", text, ", expected ", expected);
  return bad_field(std::move(param), std::move(message));
}

ApiError renamed(ApiError error, std::span<const FieldName> names) {
  const size_t end = std::min(error.message.find(':'), error.message.size());
  error.message = renamed_path(error.message.substr(0, end), names) + error.message.substr(end);
  error.param = renamed_path(error.param, names);
  return error;
}

ApiError no_model(std::string message) {
  return {.status = 404, .message = std::move(message), .param = "model", .code = "model_not_found"};
}

std::string shown_model(std::string_view name) { return Status::error(std::string(name)).message(); }

}  // namespace mlc::serve::openai
