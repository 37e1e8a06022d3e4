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

ApiError read_content(const Json& message, const std::string& path, std::string& content) {
  const Json* value = find(message, "content");
  if (!value && find_string(message, "role") == "assistant") return {};
  return read_text(value ? *value : Json(nullptr), path, content);
}

// {"id", "type": "function", "function": {"name", "arguments"}}: arguments, a text of JSON, become an object,
// as templates want them.
ApiError read_tool_call(const Json& call, const std::string& path, Json& calls) {
  const Json* function = find(call, "function");
  if (!function) return wrong_value(path, call, "an object with id, type and function");
  const std::optional<std::string> name = find_string(*function, "name");
  if (!name || name->empty()) return wrong_value(path + ".function.name", *function, "a function's name");
  Json arguments = Json::object();
  if (const Json* given = find(*function, "arguments")) {
    arguments = *given;
    if (given->is_string()) {
      const std::string text = given->get<std::string>();
      auto parsed = parse_json(trim(text).empty() ? "{}" : text, path);
      if (!parsed.is_ok() || !parsed->is_object())
        return wrong_value(path + ".function.arguments", *given, "a text of a JSON object");
      arguments = std::move(*parsed);
    }
    if (!arguments.is_object()) return wrong_value(path + ".function.arguments", *given, "a JSON object");
  }
  Json one = {{"type", "function"}, {"function", {{"name", *name}, {"arguments", std::move(arguments)}}}};
  if (const Json* id = find(call, "id")) {
    if (!id->is_string()) return wrong_value(path + ".id", *id, "a string");
    one["id"] = *id;
  }
  calls.push_back(std::move(one));
  return {};
}

ApiError read_tool_fields(const Json& message, const std::string& role, const std::string& path,
                          Json& result) {
  if (const Json* old = find(message, "function_call"); old && !old->empty())
    return bad_field(path + ".function_call", str(path, ".function_call: OpenAI's old form; use tool_calls"));
  if (const Json* calls = find(message, "tool_calls"); calls && !calls->empty()) {
    if (role != "assistant" || !calls->is_array())
      return wrong_value(path + ".tool_calls", *calls, "a list, in a message of the assistant");
    result["tool_calls"] = Json::array();
    for (size_t i = 0; i < calls->size(); ++i)
      if (ApiError error =
              read_tool_call((*calls)[i], str(path, ".tool_calls[", i, "]"), result["tool_calls"]);
          error.is_error())
        return error;
  }
  if (const Json* id = find(message, "tool_call_id")) {
    if (!id->is_string() || role != "tool")
      return wrong_value(path + ".tool_call_id", *id, "a string, in a message of the role tool");
    result["tool_call_id"] = *id;
  }
  return {};
}

ApiError read_message(const Json& message, size_t index, Json& result) {
  const std::string path = str("messages[", index, "]");
  if (!message.is_object()) return wrong_value(path, message, "an object with role and content");
  const Json* given = find(message, "role");
  if (!given || !given->is_string())
    return wrong_value(path + ".role", given ? *given : Json(nullptr), "system, user, assistant or tool");
  std::string role = given->get<std::string>();
  if (role == "developer") role = "system";
  if (role != "system" && role != "user" && role != "assistant" && role != "tool")
    return wrong_value(path + ".role", *given, "system, user, assistant or tool");
  if (role == "system" && index > 0)
    return bad_field(path, str("System prompt at position ", index,
                               " in the message list is invalid. Put it in front of all others."));
  std::string content;
  if (ApiError error = read_content(message, path + ".content", content); error.is_error()) return error;
  result.push_back({{"role", role}, {"content", std::move(content)}});
  if (const Json* name = find(message, "name")) {
    if (!name->is_string()) return wrong_value(path + ".name", *name, "a string");
    result.back()["name"] = *name;
  }
  for (const char* key : {"reasoning_content", "reasoning"})  // what earlier answers thought
    if (const Json* thought = find(message, key); thought && thought->is_string() && role == "assistant")
      result.back()["reasoning_content"] = *thought;
  return read_tool_fields(message, role, path, result.back());
}

}  // namespace

ApiError read_text(const Json& content, const std::string& path, std::string& text) {
  if (content.is_string()) {
    text += content.get_ref<const std::string&>();
    return {};
  }
  if (!content.is_array()) return wrong_value(path, content, "a string or a list of parts");
  for (size_t i = 0; i < content.size(); ++i)
    if (ApiError error = read_part(content[i], str(path, "[", i, "]"), text); error.is_error()) return error;
  return {};
}

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
