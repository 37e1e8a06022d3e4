// Checks messages one by one.
#include "service/openai/messages.h"

#include "base/strings.h"

namespace mlc::serve::openai {
namespace {

ApiError read_part(const Json& part, const std::string& path, std::string& text) {
  const std::optional<std::string> type = find_string(part, "type");
  if (!type) return wrong_value(path + ".type", part, "a part with a type, as {\"type\": \"text\", ...}");
  if (*type != "text" && *type != "input_text" && *type != "output_text" && *type != "refusal")
    return bad_field(path, str(path, ": found a part of type '", *type,
                               "', expected text: this model reads nothing else"));
  const std::optional<std::string> content = find_string(part, *type == "refusal" ? "refusal" : "text");
  if (!content) return wrong_value(path + ".text", part, "a string");
  text += *content;
  return {};
}

ApiError read_content(const Json& message, const std::string& path, Json& content) {
  const Json* value = find(message, "content");
  if (!value) {
    if (find_string(message, "role") == "assistant") {
      content = "";
      return {};
    }
    return wrong_value(path, Json(nullptr), "a string or a list of parts");
  }
  if (value->is_string()) {
    content = *value;
    return {};
  }
  if (!value->is_array()) return wrong_value(path, *value, "a string or a list of parts");
  std::string text;
  for (size_t i = 0; i < value->size(); ++i)
    if (ApiError error = read_part((*value)[i], str(path, "[", i, "]"), text); error.is_error()) return error;
  content = std::move(text);
  return {};
}

// Tools are not built: this is where assistant messages with tool_calls and tool messages will be read.
ApiError check_no_tools(const Json& message, const std::string& role, const std::string& path) {
  for (const char* field : {"tool_calls", "tool_call_id", "function_call"})
    if (const Json* value = find(message, field); value && !value->empty())
      return bad_field(str(path, ".", field),
                       str(path, ".", field, ": tools are not built yet; leave it out"));
  if (role == "tool" || role == "function")
    return bad_field(path + ".role", str(path, ".role: found '", role, "', tools are not built yet"));
  return {};
}

ApiError read_message(const Json& message, size_t index, Json& result) {
  const std::string path = str("messages[", index, "]");
  if (!message.is_object()) return wrong_value(path, message, "an object with role and content");
  const Json* given = find(message, "role");
  if (!given || !given->is_string())
    return wrong_value(path + ".role", given ? *given : Json(nullptr), "system, user, assistant or tool");
  std::string role = given->get<std::string>();
  if (ApiError error = check_no_tools(message, role, path); error.is_error()) return error;
  if (role == "developer") role = "system";
  if (role != "system" && role != "user" && role != "assistant")
    return wrong_value(path + ".role", *given, "system, user, assistant or tool");
  if (role == "system" && index > 0)
    return bad_field(path, str("System prompt at position ", index,
                               " in the message list is invalid. Put it in front of all others."));
  Json content;
  if (ApiError error = read_content(message, path + ".content", content); error.is_error()) return error;
  result.push_back({{"role", role}, {"content", std::move(content)}});
  if (const Json* name = find(message, "name")) {
    if (!name->is_string()) return wrong_value(path + ".name", *name, "a string");
    result.back()["name"] = *name;
  }
  return {};
}

}  // namespace

ApiError read_messages(const Json& messages, Json& result) {
  if (!messages.is_array() || messages.empty())
    return wrong_value("messages", messages.is_array() ? Json("an empty list") : messages,
                       "a list of at least one message");
  result = Json::array();
  for (size_t i = 0; i < messages.size(); ++i)
    if (ApiError error = read_message(messages[i], i, result); error.is_error()) return error;
  return {};
}

}  // namespace mlc::serve::openai
