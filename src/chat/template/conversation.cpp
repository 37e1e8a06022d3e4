// Conversation templates: JSON form and prompt rendering.
#include "chat/template/conversation.h"

#include "base/strings.h"

namespace mlc {
namespace {

constexpr std::string_view kFunctionPlace = "{function_string}";

const RoleTexts& default_role_templates() {
  static const RoleTexts kDefaults = {
      {"user", "{user_message}"}, {"assistant", "{assistant_message}"}, {"tool", "{tool_message}"}};
  return kDefaults;
}

const std::string* find_role(const RoleTexts& texts, std::string_view role) {
  for (const auto& [name, text] : texts)
    if (name == role) return &text;
  return nullptr;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (size_t at = 0;;) {
    size_t found = text.find(from, at);
    out += text.substr(at, found - at);
    if (found == std::string_view::npos) return out;
    out += to;
    at = found + from.size();
  }
}

// Text after the last "</think>", without the line ends that follow it.
std::string without_reasoning(const std::string& content) {
  constexpr std::string_view kClose = "</think>";
  size_t close = content.rfind(kClose);
  if (close == std::string::npos) return content;
  size_t start = content.find_first_not_of('\n', close + kClose.size());
  return start == std::string::npos ? "" : content.substr(start);
}

Json texts_json(const RoleTexts& texts) {
  Json object = Json::object();
  for (const auto& [role, text] : texts) object[role] = text;
  return object;
}

Result<RoleTexts> texts_from(const Json& object, std::string_view key, const std::string& what) {
  RoleTexts texts;
  if (!find(object, key)) return texts;
  ASSIGN_OR_RETURN(const Json* value, get_object(object, key, what));
  for (const auto& item : value->items()) {
    if (!item.value().is_string())
      return Status::error(str(what, ": key '", key, "' has ", item.value().type_name(), " for '", item.key(),
                               "', expected a string"));
    texts.emplace_back(item.key(), item.value().get<std::string>());
  }
  return texts;
}

// A list of strings or integers; one value alone counts as a list of it (2023 files).
template <typename T>
Result<std::vector<T>> list_from(const Json& object, std::string_view key, const std::string& what) {
  std::vector<T> list;
  const Json* value = find(object, key);
  if (!value) return list;
  Json one = Json::array({*value});
  for (const Json& item : value->is_array() ? *value : one) {
    bool fits = std::is_same_v<T, std::string> ? item.is_string() : item.is_number_integer();
    if (!fits)
      return Status::error(str(what, ": key '", key, "' has ", json_text(item).substr(0, 40),
                               ", expected a list of ",
                               std::is_same_v<T, std::string> ? "strings" : "integers"));
    list.push_back(item.get<T>());
  }
  return list;
}

Status read_seed_messages(const Json& object, const std::string& what, Conversation& conversation) {
  const Json* list = find(object, "messages");
  if (!list) return Status::ok();
  for (const Json& message : *list) {
    bool fits = message.is_array() && message.size() == 2 && message[0].is_string() &&
                (message[1].is_string() || message[1].is_null());
    if (!fits)
      return Status::error(
          str(what, ": key 'messages' has ", json_text(message).substr(0, 60), ", expected [role, text]"));
    std::optional<std::string> content;
    if (message[1].is_string()) content = message[1].get<std::string>();
    conversation.messages.emplace_back(message[0].get<std::string>(), std::move(content));
  }
  return Status::ok();
}

Status read_variables(const Json& object, const std::string& what, Json& variables) {
  for (const char* name : {"bos_token", "eos_token"})
    if (std::string text = find_string(object, name).value_or(""); !text.empty()) variables[name] = text;
  if (!find(object, "special_tokens")) return Status::ok();
  ASSIGN_OR_RETURN(const Json* given, get_object(object, "special_tokens", what));
  for (const auto& [name, value] : given->items()) {
    bool texts = value.is_string();
    if (value.is_array()) {
      ASSIGN_OR_RETURN(auto list, list_from<std::string>(*given, name, what));
      texts = !list.empty() || value.empty();
    }
    if (!texts)
      return Status::error(str(what, ": key 'special_tokens' has ", value.type_name(), " for '", name,
                               "', expected a string or a list of strings"));
    variables[name] = value;
  }
  return Status::ok();
}

// One turn, in the form that rendering works on.
struct Turn {
  std::string role;
  std::optional<std::string> content;
};

// Text of a message's content: itself, or its text parts joined.
Result<std::optional<std::string>> content_text(const Json& message, const std::string& what) {
  const Json* content = find(message, "content");
  if (!content) return std::optional<std::string>();
  if (content->is_string()) return std::optional(content->get<std::string>());
  if (!content->is_array())
    return Status::error(str(what, ": a message's content is ", content->type_name(),
                             ", expected a string, null or a list of parts"));
  std::string text;
  for (const Json& part : *content) {
    std::string type = find_string(part, "type").value_or("");
    if (type != "text")
      return Status::error(
          str(what, ": a content part of type '", type, "' found, but this model takes text only"));
    ASSIGN_OR_RETURN(std::string part_text, get_string(part, "text", what));
    text += part_text;
  }
  return std::optional(text);
}

// Splits request messages into system text (joined; nullopt when there is none) and turns.
Status read_messages(const Json& messages, const std::string& what, std::optional<std::string>& system,
                     std::vector<Turn>& turns) {
  if (!messages.is_array())
    return Status::error(str(what, ": messages is ", messages.type_name(), ", expected a list"));
  for (const Json& message : messages) {
    ASSIGN_OR_RETURN(std::string role, get_string(message, "role", what));
    ASSIGN_OR_RETURN(std::optional<std::string> content, content_text(message, what));
    if (role == "system")
      system = system.value_or("") + content.value_or("");
    else
      turns.push_back({std::move(role), std::move(content)});
  }
  return Status::ok();
}

void strip_reasoning(std::vector<Turn>& turns) {
  size_t last_user = 0;
  for (size_t i = 0; i < turns.size(); ++i)
    if (turns[i].role == "user") last_user = i;
  for (size_t i = 0; i < last_user; ++i)
    if (turns[i].role == "assistant" && turns[i].content)
      turns[i].content = without_reasoning(*turns[i].content);
}

// The last {function_string} becomes the functions; the others vanish.
std::string place_functions(const std::string& text, const std::string& functions) {
  size_t last = text.rfind(kFunctionPlace);
  if (last == std::string::npos) return text;
  return replace_all(std::string_view(text).substr(0, last), kFunctionPlace, "") + functions +
         replace_all(std::string_view(text).substr(last + kFunctionPlace.size()), kFunctionPlace, "");
}

}  // namespace

Json Conversation::to_json() const {
  Json out = Json::object();
  if (!name.empty()) out["name"] = name;
  out["system_template"] = system_template;
  out["system_message"] = system_message;
  out["system_prefix_token_ids"] = system_prefix_token_ids ? Json(*system_prefix_token_ids) : Json(nullptr);
  out["add_role_after_system_message"] = add_role_after_system_message;
  out["roles"] = texts_json(roles);
  out["role_templates"] = texts_json(role_templates);
  out["messages"] = Json::array();
  for (const auto& [role, content] : messages)
    out["messages"].push_back({role, content ? Json(*content) : Json(nullptr)});
  out["seps"] = seps;
  out["role_content_sep"] = role_content_sep;
  out["role_empty_sep"] = role_empty_sep;
  out["stop_str"] = stop_str;
  out["stop_token_ids"] = stop_token_ids;
  out["strip_reasoning_in_history"] = strip_reasoning_in_history;
  out["function_string"] = function_string;
  out["use_function_calling"] = use_function_calling;
  if (!jinja_template.empty()) {
    Json others = template_variables;
    out["jinja_template"] = jinja_template;
    for (const char* name : {"bos_token", "eos_token"}) {
      out[name] = find_string(template_variables, name).value_or("");
      others.erase(name);
    }
    if (!others.empty()) out["special_tokens"] = std::move(others);
  }
  return out;
}

Result<Conversation> Conversation::from_json(const Json& object, const std::string& what) {
  if (!object.is_object())
    return Status::error(str(what, ": conv_template is ", object.type_name(), ", expected an object"));
  Conversation c;
  c.name = find_string(object, "name").value_or("");
  c.system_template = find_string(object, "system_template").value_or(c.system_template);
  c.system_message = find_string(object, "system_message").value_or("");
  if (find(object, "system_prefix_token_ids")) {
    ASSIGN_OR_RETURN(c.system_prefix_token_ids, list_from<int32_t>(object, "system_prefix_token_ids", what));
  }
  c.add_role_after_system_message = find_bool(object, "add_role_after_system_message").value_or(true);
  ASSIGN_OR_RETURN(c.roles, texts_from(object, "roles", what));
  c.role_templates = default_role_templates();
  ASSIGN_OR_RETURN(RoleTexts given, texts_from(object, "role_templates", what));
  for (auto& [role, text] : given) {
    bool known = false;
    for (auto& [name, value] : c.role_templates)
      if (name == role) value = text, known = true;
    if (!known) c.role_templates.emplace_back(role, text);
  }
  RETURN_IF_ERROR(read_seed_messages(object, what, c));
  ASSIGN_OR_RETURN(c.seps, list_from<std::string>(object, "seps", what));
  if (c.seps.empty() || c.seps.size() > 2)
    return Status::error(str(what, ": conv_template has ", c.seps.size(), " seps, expected 1 or 2"));
  c.role_content_sep = find_string(object, "role_content_sep").value_or("");
  c.role_empty_sep = find_string(object, "role_empty_sep").value_or("");
  ASSIGN_OR_RETURN(c.stop_str, list_from<std::string>(object, "stop_str", what));
  ASSIGN_OR_RETURN(c.stop_token_ids, list_from<int32_t>(object, "stop_token_ids", what));
  c.strip_reasoning_in_history = find_bool(object, "strip_reasoning_in_history").value_or(false);
  c.function_string = find_string(object, "function_string").value_or("");
  c.use_function_calling = find_bool(object, "use_function_calling").value_or(false);
  c.jinja_template = find_string(object, "jinja_template").value_or("");
  RETURN_IF_ERROR(read_variables(object, what, c.template_variables));
  return c;
}

Result<std::vector<PromptPiece>> Conversation::render(const Json& request_messages,
                                                      const std::string& functions, bool open_assistant,
                                                      const std::string& what) const {
  std::optional<std::string> system;
  std::vector<Turn> turns;
  for (const auto& [role, content] : messages) turns.push_back({role, content});
  RETURN_IF_ERROR(read_messages(request_messages, what, system, turns));
  if (strip_reasoning_in_history) strip_reasoning(turns);
  if (open_assistant) turns.push_back({"assistant", std::nullopt});

  std::string text = replace_all(system_template, "{system_message}", system.value_or(system_message));
  bool first_without_role = !add_role_after_system_message && !text.empty();
  for (const Turn& turn : turns) {
    const std::string* role = find_role(roles, turn.role);
    if (!role) {
      std::vector<std::string> known = {"system"};
      for (const auto& entry : roles) known.push_back(entry.first);
      return Status::error(str(what, ": role '", turn.role, "' found, expected one of ", join(known, ", ")));
    }
    if (!turn.content) {
      text += *role + role_empty_sep;
      continue;
    }
    if (!first_without_role) text += *role + role_content_sep;
    first_without_role = false;
    const std::string* form = find_role(role_templates, turn.role);
    std::string place = "{" + turn.role + "_message}";
    text += form ? replace_all(*form, place, *turn.content) : *turn.content;
    text += turn.role == "assistant" ? seps.back() : seps.front();
  }
  std::vector<PromptPiece> prompt;
  if (system_prefix_token_ids && !system_prefix_token_ids->empty())
    prompt.push_back({*system_prefix_token_ids, ""});
  if (!text.empty())
    prompt.push_back({{}, place_functions(text, functions.empty() ? function_string : functions)});
  return prompt;
}

}  // namespace mlc
