// Anthropic's /v1/messages.
#include <array>
#include <memory>
#include <string>

#include "base/check.h"
#include "base/strings.h"
#include "service/openai/answer_translator.h"
#include "service/openai/fields.h"
#include "service/openai/messages.h"
#include "service/openai/translate.h"

namespace mlc::serve::openai {
namespace {

const char* anthropic_type(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 503: return "overloaded_error";
    default: return status < 500 ? "invalid_request_error" : "api_error";
  }
}

// Arguments are an object here. What a model wrote that is none stays a text.
Json input_of(const std::string& arguments) {
  auto input = parse_json(arguments.empty() ? "{}" : arguments, "arguments");
  return input.is_ok() && input->is_object() ? std::move(*input) : Json(arguments);
}

Json block_json(const AnswerBlock& block, bool empty) {
  const std::string text = empty ? "" : block.text;
  if (block.kind == AnswerPartKind::kReasoning)
    return {{"type", "thinking"}, {"thinking", text}, {"signature", ""}};
  if (block.kind == AnswerPartKind::kText) return {{"type", "text"}, {"text", text}};
  return {{"type", "tool_use"}, {"id", "toolu_" + block.id}, {"name", block.name}, {"input", input_of(text)}};
}

Json delta_json(AnswerPartKind kind, std::string_view more) {
  if (kind == AnswerPartKind::kReasoning) return {{"type", "thinking_delta"}, {"thinking", more}};
  if (kind == AnswerPartKind::kText) return {{"type", "text_delta"}, {"text", more}};
  return {{"type", "input_json_delta"}, {"partial_json", more}};
}

class Messages : public AnswerTranslator {
 public:
  using AnswerTranslator::AnswerTranslator;

 private:
  std::string error_json(const Reply& error) const override {
    auto json = parse_json(error.text, "error");
    internal_check(json.is_ok(), "an error of ours is JSON");
    return anthropic_error_json(error.status, (*json)["error"]["message"].get<std::string>());
  }
  std::string whole_json() const override {
    Json content = Json::array();
    for (const AnswerBlock& block : blocks_) content.push_back(block_json(block, false));
    return json_text(message(std::move(content)));
  }
  void begin() override {
    send("message_start", {{"message", message(Json::array())}});
    send("ping", Json::object());
  }
  void open() override {
    send("content_block_start", {{"index", index()}, {"content_block", block_json(block(), true)}});
  }
  void grow(std::string_view more) override {
    send("content_block_delta", {{"index", index()}, {"delta", delta_json(block().kind, more)}});
  }
  void close() override { send("content_block_stop", {{"index", index()}}); }
  void end() override {
    send("message_delta", {{"delta", {{"stop_reason", stop_reason()}, {"stop_sequence", stop_sequence()}}},
                           {"usage", usage()}});
    send("message_stop", Json::object());
  }
  void fail(const std::string& message) override {
    send("error", {{"error", {{"type", "overloaded_error"}, {"message", message}}}});
  }

  Json stop_reason() const {
    if (finish_.empty()) return nullptr;
    if (!stop_string_.empty()) return "stop_sequence";
    return finish_ == "length" ? "max_tokens" : finish_ == "tool_calls" ? "tool_use" : "end_turn";
  }
  Json stop_sequence() const { return stop_string_.empty() ? Json(nullptr) : Json(stop_string_); }
  Json usage() const {
    const Json* details = find(usage_, "prompt_tokens_details");
    const int64_t cached = details ? find_int(*details, "cached_tokens").value_or(0) : 0;
    // Of the input what was not read from the cache, as Anthropic counts.
    return {{"input_tokens", find_int(usage_, "prompt_tokens").value_or(0) - cached},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", cached},
            {"output_tokens", find_int(usage_, "completion_tokens").value_or(0)}};
  }
  Json message(Json content) const {
    return {{"id", "msg_" + id_},
            {"type", "message"},
            {"role", "assistant"},
            {"model", model_},
            {"content", std::move(content)},
            {"stop_reason", stop_reason()},
            {"stop_sequence", stop_sequence()},
            {"usage", usage()}};
  }
};

// The blocks of one message -> messages of a chat: results of tools are messages of their own.
class MessageReader {
 public:
  MessageReader(std::string role, Json& messages) : role_(std::move(role)), messages_(messages) {}

  ApiError read(const Json& content, const std::string& path) {
    for (size_t i = 0; i < content.size(); ++i)
      if (ApiError error = read_block(content[i], str(path, "[", i, "]")); error.is_error()) return error;
    flush();
    return {};
  }

 private:
  ApiError read_block(const Json& block, const std::string& path) {
    const std::string type = find_string(block, "type").value_or("");
    const bool assistant = role_ == "assistant";
    if (type == "text") {
      const std::optional<std::string> text = find_string(block, "text");
      if (!text) return wrong_value(path + ".text", block, "a string");
      text_ += *text;
      return {};
    }
    if (type == "tool_result" && !assistant) return read_result(block, path);
    if (type == "tool_use" && assistant) return read_call(block, path);
    if (type == "thinking" && assistant) thought_ += find_string(block, "thinking").value_or("");
    if ((type == "thinking" || type == "redacted_thinking") && assistant) return {};
    return bad_field(path, str(path, ": found a block of type '", type, "', expected ",
                               assistant ? "text, thinking or tool_use"
                                         : "text or tool_result: this model reads nothing else"));
  }
  ApiError read_result(const Json& block, const std::string& path) {
    const std::optional<std::string> id = find_string(block, "tool_use_id");
    if (!id) return wrong_value(path + ".tool_use_id", nullptr, "the id of a tool_use block");
    std::string text;
    if (const Json* content = find(block, "content"))
      if (ApiError error = read_text(*content, path + ".content", text); error.is_error()) return error;
    flush_text();
    messages_.push_back({{"role", "tool"}, {"tool_call_id", *id}, {"content", text}});
    any_ = true;
    return {};
  }
  ApiError read_call(const Json& block, const std::string& path) {
    const std::optional<std::string> id = find_string(block, "id"), name = find_string(block, "name");
    const Json* input = find(block, "input");
    if (!id || !name || name->empty() || !input || !input->is_object())
      return wrong_value(path, block, "a tool_use block with id, name and input, an object");
    calls_.push_back(
        {{"id", *id}, {"type", "function"}, {"function", {{"name", *name}, {"arguments", *input}}}});
    return {};
  }
  void flush_text() {
    if (!text_.empty()) messages_.push_back({{"role", role_}, {"content", std::exchange(text_, "")}});
  }
  void flush() {
    if (role_ == "user") {
      if (!text_.empty() || !any_) messages_.push_back({{"role", role_}, {"content", text_}});
      return;
    }
    Json message = {{"role", role_}, {"content", text_}};
    if (!thought_.empty()) message["reasoning_content"] = thought_;
    if (!calls_.empty()) message["tool_calls"] = std::move(calls_);
    messages_.push_back(std::move(message));
  }

  std::string role_, text_, thought_;
  Json& messages_;
  Json calls_ = Json::array();
  bool any_ = false;
};

ApiError read_message(const Json& message, const std::string& path, Json& messages) {
  const std::string role = find_string(message, "role").value_or("");
  if (role != "user" && role != "assistant")
    return wrong_value(path + ".role", Json(role), "the roles user and assistant");
  const Json* content = find(message, "content");
  if (content && content->is_array()) return MessageReader(role, messages).read(*content, path + ".content");
  if (!content || !content->is_string())
    return wrong_value(path + ".content", content ? *content : Json(nullptr), "a text or a list of blocks");
  messages.push_back({{"role", role}, {"content", *content}});
  return {};
}

void read_conversation(Fields& fields, Json& messages) {
  if (const Json* system = fields.get("system")) {
    std::string text;
    if (ApiError error = read_text(*system, "system", text); error.is_error())
      return fields.fail(std::move(error));
    messages.push_back({{"role", "system"}, {"content", text}});
  }
  const Json* given = fields.get("messages");
  if (!given || !given->is_array() || given->empty())
    return fields.wrong("messages", given ? *given : Json(nullptr), "a list of at least one message");
  for (size_t i = 0; i < given->size(); ++i)
    if (ApiError error = read_message((*given)[i], str("messages[", i, "]"), messages); error.is_error())
      return fields.fail(std::move(error));
}

ApiError read_tools(const Json& tools, Json& result) {
  if (!tools.is_array()) return wrong_value("tools", tools, "a list of tools");
  result = Json::array();
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string path = str("tools[", i, "]"), type = find_string(tools[i], "type").value_or("custom");
    if (type != "custom")
      return bad_field("tools",
                       str(path, ": found the type '", type, "', expected a tool of the caller's: custom"));
    Json function = {{"name", find(tools[i], "name") ? tools[i]["name"] : Json(nullptr)}};
    if (const Json* text = find(tools[i], "description")) function["description"] = *text;
    const Json* schema = find(tools[i], "input_schema");
    if (!schema) return wrong_value(path + ".input_schema", nullptr, "a JSON schema");
    function["parameters"] = *schema;
    result.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return {};
}

void read_tool_choice(Fields& fields, Json& chat) {
  const Json* choice = fields.get("tool_choice");
  if (!choice) return;
  const std::string type = find_string(*choice, "type").value_or("");
  if (type == "auto" || type == "none") {
    chat["tool_choice"] = type;
  } else if (type == "any") {
    chat["tool_choice"] = "required";
  } else if (type == "tool" && find_string(*choice, "name")) {
    chat["tool_choice"] = {{"type", "function"}, {"function", {{"name", (*choice)["name"]}}}};
  } else {
    return fields.wrong("tool_choice", *choice, "an object of type auto, any, none, or tool with a name");
  }
  if (find_bool(*choice, "disable_parallel_tool_use").value_or(false)) chat["parallel_tool_calls"] = false;
}

// Models that can be told whether to think are told so by this variable of their templates.
void read_thinking(Fields& fields, Json& chat) {
  const Json* thinking = fields.get("thinking");
  if (!thinking) return;
  const std::string type = find_string(*thinking, "type").value_or("");
  if (type != "enabled" && type != "disabled")
    return fields.wrong("thinking", *thinking, "an object of type enabled or disabled");
  chat["chat_template_kwargs"] = {{"enable_thinking", type == "enabled"}};
  // Not kept, and noted in the log so.
  if (const Json* budget = find(*thinking, "budget_tokens")) chat["thinking.budget_tokens"] = *budget;
}

}  // namespace

std::string anthropic_error_json(int status, const std::string& message) {
  return json_text({{"type", "error"}, {"error", {{"type", anthropic_type(status)}, {"message", message}}}});
}

ApiError messages_to_chat(const Json& body, Json& chat) {
  Fields fields(body);
  Json messages = Json::array();
  chat = {{"n", 1}};
  read_conversation(fields, messages);
  chat["messages"] = std::move(messages);
  if (!fields.get("max_tokens"))
    fields.wrong("max_tokens", nullptr, "a whole number: Anthropic's API asks for it");
  if (const Json* tools = fields.get("tools"))
    if (ApiError error = read_tools(*tools, chat["tools"]); error.is_error()) fields.fail(std::move(error));
  read_tool_choice(fields, chat);
  read_thinking(fields, chat);
  fields.skip({"metadata", "service_tier", "cache_control"});
  constexpr std::pair<const char*, const char*> kSame[] = {
      {"model", "model"}, {"max_tokens", "max_tokens"}, {"temperature", "temperature"}, {"top_p", "top_p"},
      {"top_k", "top_k"}, {"stream", "stream"},         {"stop_sequences", "stop"}};
  for (const auto& [theirs, ours] : kSame)
    if (const Json* value = fields.get(theirs)) chat[ours] = *value;
  if (find_bool(chat, "stream").value_or(false)) chat["stream_options"] = {{"include_usage", true}};
  return fields.finish();
}

ApiError messages_error(ApiError error) {
  constexpr FieldName kNames[] = {
      {"stop", "stop_sequences"}, {".function.name", ".name"}, {".function.parameters", ".input_schema"}};
  return renamed(std::move(error), kNames);
}

ReplyCallback messages_reply(ReplyCallback reply) {
  auto translator = std::make_shared<Messages>(std::move(reply));
  return [translator](const Reply& r) { translator->take(r); };
}

}  // namespace mlc::serve::openai
