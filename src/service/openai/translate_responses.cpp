// OpenAI's /v1/responses. Nothing is stored: a conversation is sent whole.
#include <memory>
#include <string>
#include <vector>

#include "base/strings.h"
#include "service/openai/answer_translator.h"
#include "service/openai/fields.h"
#include "service/openai/messages.h"
#include "service/openai/translate.h"

namespace mlc::serve::openai {
namespace {

// Items of `input` -> messages of a chat. Thoughts and calls belong to the assistant's message around them.
class InputReader {
 public:
  // `messages` may hold the instructions already.
  explicit InputReader(Json& messages) : messages_(messages) {}

  ApiError read(const Json& item, const std::string& path) {
    const std::string type = find_string(item, "type").value_or("message");
    if (type == "message") return read_message(item, path);
    if (type == "function_call") return read_call(item, path);
    if (type == "function_call_output") return read_output(item, path);
    if (type == "reasoning") return read_reasoning(item, path);
    return bad_field("input", str(path, ": found an item of type '", type,
                                  "', expected message, function_call, function_call_output or reasoning"));
  }

 private:
  ApiError read_message(const Json& item, const std::string& path) {
    const Json* given = find(item, "role");
    std::string role = given && given->is_string() ? given->get<std::string>() : "";
    if (role == "developer") role = "system";
    if (role != "system" && role != "user" && role != "assistant")
      return wrong_value(path + ".role", given ? *given : Json(nullptr),
                         "system, developer, user or assistant");
    const Json* content = find(item, "content");
    std::string text;
    if (ApiError error = read_text(content ? *content : Json(nullptr), path + ".content", text);
        error.is_error())
      return error;
    if (role == "assistant") {
      assistant()["content"] = text;
      return {};
    }
    if (role != "system" || messages_.empty()) {
      messages_.push_back({{"role", role}, {"content", text}});
      return {};
    }
    if (messages_.size() > 1 || messages_[0]["role"] != "system")
      return bad_field("input",
                       str(path, ".role: found '", role, "', expected it in front of all other items"));
    messages_[0]["content"] = messages_[0]["content"].get<std::string>() + "\n\n" + text;
    return {};
  }
  ApiError read_call(const Json& item, const std::string& path) {
    const std::optional<std::string> id = find_string(item, "call_id"), name = find_string(item, "name"),
                                     arguments = find_string(item, "arguments");
    if (!id || !name || name->empty() || !arguments)
      return wrong_value(path, item, "a function_call with call_id, name and arguments");
    auto parsed = parse_json(trim(*arguments).empty() ? "{}" : *arguments, "arguments");
    if (!parsed.is_ok() || !parsed->is_object())
      return wrong_value(path + ".arguments", Json(*arguments), "a text of a JSON object");
    Json& message = assistant();
    if (!message.contains("tool_calls")) message["tool_calls"] = Json::array();
    message["tool_calls"].push_back(
        {{"id", *id}, {"type", "function"}, {"function", {{"name", *name}, {"arguments", *parsed}}}});
    return {};
  }
  ApiError read_output(const Json& item, const std::string& path) {
    const std::optional<std::string> id = find_string(item, "call_id");
    const Json* output = find(item, "output");
    if (!id || !output) return wrong_value(path, item, "a function_call_output with call_id and output");
    std::string text;
    if (ApiError error = read_text(*output, path + ".output", text); error.is_error()) return error;
    messages_.push_back({{"role", "tool"}, {"tool_call_id", *id}, {"content", text}});
    return {};
  }
  // Of its summary and its content the content; a summary is shorter.
  ApiError read_reasoning(const Json& item, const std::string& path) {
    std::string text;
    if (const Json* content = find(item, "content"); content && !content->empty()) {
      if (!content->is_array()) return wrong_value(path + ".content", *content, "a list of parts");
      for (const Json& part : *content) text += find_string(part, "text").value_or("");
    } else if (const Json* summary = find(item, "summary"); summary && summary->is_array()) {
      for (const Json& part : *summary) text += find_string(part, "text").value_or("");
    }
    if (!text.empty()) assistant()["reasoning_content"] = text;
    return {};
  }
  // The assistant's message that goes on, or a new one.
  Json& assistant() {
    if (messages_.empty() || messages_.back()["role"] != "assistant")
      messages_.push_back({{"role", "assistant"}, {"content", ""}});
    return messages_.back();
  }

  Json& messages_;
};

void read_input(Fields& fields, Json& messages) {
  constexpr const char* kExpected = "a string or a list of items";
  const Json* input = fields.get("input");
  if (!input) return fields.wrong("input", nullptr, kExpected);
  if (input->is_string()) {
    messages.push_back({{"role", "user"}, {"content", *input}});
    return;
  }
  if (!input->is_array() || input->empty()) return fields.wrong("input", *input, kExpected);
  InputReader reader(messages);
  for (size_t i = 0; i < input->size(); ++i)
    if (ApiError error = reader.read((*input)[i], str("input[", i, "]")); error.is_error())
      return fields.fail(std::move(error));
}

// `text.format` as `response_format` has it; null: none.
Json read_text_format(Fields& fields) {
  const Json* text = fields.get("text");
  const Json* format = text ? find(*text, "format") : nullptr;
  if (!format) return nullptr;
  const std::string type = find_string(*format, "type").value_or("");
  if (type == "text" || type == "json_object") return {{"type", type}};
  if (type == "json_schema" && find(*format, "schema"))
    return {{"type", type}, {"json_schema", {{"schema", (*format)["schema"]}}}};
  fields.wrong("text.format", *format, "type text, json_object, or json_schema with a schema");
  return nullptr;
}

ApiError read_tools(const Json& tools, Json& result) {
  if (!tools.is_array()) return wrong_value("tools", tools, "a list of tools");
  result = Json::array();
  for (size_t i = 0; i < tools.size(); ++i) {
    const std::string type = find_string(tools[i], "type").value_or("");
    if (type != "function")
      return bad_field("tools", str("tools[", i, "]: found the type '", type, "', expected function"));
    Json function = Json::object();
    for (const char* key : {"name", "description", "parameters", "strict"})
      if (const Json* value = find(tools[i], key)) function[key] = *value;
    result.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return {};
}

void read_tool_choice(Fields& fields, Json& chat) {
  const Json* choice = fields.get("tool_choice");
  if (!choice) return;
  chat["tool_choice"] = *choice;
  if (!choice->is_object()) return;
  if (find_string(*choice, "type") != "function" || !find_string(*choice, "name"))
    return fields.wrong("tool_choice", *choice,
                        "none, auto, required, or an object of type function with a name");
  chat["tool_choice"] = {{"type", "function"}, {"function", {{"name", (*choice)["name"]}}}};
}

// The fields of a response that repeat its request.
Json echoed(const Json& body) {
  auto given = [&](const char* key, Json otherwise) {
    return find(body, key) ? *find(body, key) : std::move(otherwise);
  };
  return {{"instructions", given("instructions", nullptr)},
          {"max_output_tokens", given("max_output_tokens", nullptr)},
          {"temperature", given("temperature", nullptr)},
          {"top_p", given("top_p", nullptr)},
          {"metadata", given("metadata", Json::object())},
          {"parallel_tool_calls", given("parallel_tool_calls", true)},
          {"previous_response_id", nullptr},
          {"reasoning", {{"effort", nullptr}, {"summary", nullptr}}},
          {"store", false},
          {"text", given("text", {{"format", {{"type", "text"}}}})},
          {"tool_choice", given("tool_choice", "auto")},
          {"tools", given("tools", Json::array())},
          {"truncation", "disabled"},
          {"user", given("user", nullptr)}};
}

class Responses : public AnswerTranslator {
 public:
  Responses(const Json& body, ReplyCallback reply)
      : AnswerTranslator(std::move(reply)), echo_(echoed(body)) {}

 private:
  std::string error_json(const Reply& error) const override { return error.text; }
  std::string whole_json() const override { return json_text(response(status(), true)); }
  void begin() override {
    for (const char* type : {"response.created", "response.in_progress"})
      event(type, {{"response", response("in_progress", false)}});
  }
  void open() override {
    event("response.output_item.added", {{"output_index", index()}, {"item", item(index(), "in_progress")}});
    if (block().kind != AnswerPartKind::kCall)
      event("response.content_part.added", place({{"part", part(block().kind, "")}}));
  }
  void grow(std::string_view more) override { event(name_of("delta"), place({{"delta", more}})); }
  void close() override {
    const AnswerBlock& done = block();
    const bool call = done.kind == AnswerPartKind::kCall;
    event(name_of("done"), place({{call ? "arguments" : "text", done.text}}));
    if (!call) event("response.content_part.done", place({{"part", part(done.kind, done.text)}}));
    event("response.output_item.done",
          {{"output_index", index()}, {"item", item(index(), finish_.empty() ? "completed" : status())}});
  }
  void end() override {
    event(completed() ? "response.completed" : "response.incomplete",
          {{"response", response(status(), true)}});
  }
  void fail(const std::string& message) override {
    event("error", {{"message", message}, {"code", nullptr}, {"param", nullptr}});
  }

  bool completed() const { return finish_ == "stop" || finish_ == "tool_calls"; }
  const char* status() const { return completed() ? "completed" : "incomplete"; }

  // What events of the open block are called.
  const char* name_of(std::string_view what) const {
    const bool delta = what == "delta";
    switch (block().kind) {
      case AnswerPartKind::kReasoning:
        return delta ? "response.reasoning_text.delta" : "response.reasoning_text.done";
      case AnswerPartKind::kText: return delta ? "response.output_text.delta" : "response.output_text.done";
      default:
        return delta ? "response.function_call_arguments.delta" : "response.function_call_arguments.done";
    }
  }
  static Json part(AnswerPartKind kind, const std::string& text) {
    if (kind == AnswerPartKind::kReasoning) return {{"type", "reasoning_text"}, {"text", text}};
    return {
        {"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
  }
  std::string item_id(size_t index) const {
    const AnswerPartKind kind = blocks_[index].kind;
    const char* prefix = kind == AnswerPartKind::kCall   ? "fc_"
                         : kind == AnswerPartKind::kText ? "msg_"
                                                         : "rs_";
    return str(prefix, id_, index == 0 ? "" : str("_", index));
  }
  Json item(size_t index, const std::string& status) const {
    const AnswerBlock& block = blocks_[index];
    const bool begins = status == "in_progress";
    Json result = {{"id", item_id(index)}, {"status", status}};
    if (block.kind == AnswerPartKind::kCall) {
      result.update({{"type", "function_call"},
                     {"call_id", "call_" + block.id},
                     {"name", block.name},
                     {"arguments", begins ? "" : block.text}});
      return result;
    }
    Json content = Json::array();
    if (!begins) content.push_back(part(block.kind, block.text));
    if (block.kind == AnswerPartKind::kReasoning)
      result.update({{"type", "reasoning"}, {"summary", Json::array()}, {"content", std::move(content)}});
    else
      result.update({{"type", "message"}, {"role", "assistant"}, {"content", std::move(content)}});
    return result;
  }
  Json response(const std::string& status, bool done) const {
    Json output = Json::array();
    for (size_t i = 0; done && i < blocks_.size(); ++i)
      output.push_back(item(i, i + 1 == blocks_.size() ? status : "completed"));
    Json result = {{"id", "resp_" + id_},    {"object", "response"},
                   {"created_at", created_}, {"status", status},
                   {"error", nullptr},       {"incomplete_details", nullptr},
                   {"model", model_},        {"output", std::move(output)},
                   {"usage", nullptr}};
    if (status == "incomplete")
      result["incomplete_details"] = {{"reason", finish_ == "length" ? "max_output_tokens" : finish_}};
    if (done && usage_.contains("prompt_tokens"))
      result["usage"] = {{"input_tokens", usage_["prompt_tokens"]},
                         {"input_tokens_details", usage_["prompt_tokens_details"]},
                         {"output_tokens", usage_["completion_tokens"]},
                         {"output_tokens_details", usage_["completion_tokens_details"]},
                         {"total_tokens", usage_["total_tokens"]}};
    result.update(echo_);
    return result;
  }
  // Where the open block's text stands.
  Json place(Json fields) const {
    fields["item_id"] = item_id(index());
    fields["output_index"] = index();
    if (block().kind != AnswerPartKind::kCall) fields["content_index"] = 0;
    if (block().kind == AnswerPartKind::kText && !fields.contains("part")) fields["logprobs"] = Json::array();
    return fields;
  }
  void event(const char* type, Json fields) {
    fields["sequence_number"] = next_++;
    send(type, fields);
  }

  Json echo_;
  int64_t next_ = 0;
};

}  // namespace

ApiError responses_to_chat(const Json& body, Json& chat) {
  Fields fields(body);
  Json messages = Json::array();
  chat = {{"n", 1}};
  if (const Json* instructions = fields.get("instructions")) {
    if (!instructions->is_string()) fields.wrong("instructions", *instructions, "a string");
    messages.push_back({{"role", "system"}, {"content", *instructions}});
  }
  if (!fields.failed()) read_input(fields, messages);
  chat["messages"] = std::move(messages);
  const Json format = read_text_format(fields);
  if (const Json* tools = fields.get("tools"))
    if (ApiError error = read_tools(*tools, chat["tools"]); error.is_error()) fields.fail(std::move(error));
  read_tool_choice(fields, chat);
  fields.refuse("background", false, "nothing is stored here; leave it out");
  for (const char* key : {"previous_response_id", "conversation", "prompt"})
    fields.refuse(key, nullptr, "nothing is stored here; send the whole conversation as input");
  fields.refuse("truncation", "disabled", "a conversation is never cut; leave it out");
  fields.skip({"store", "metadata", "include", "reasoning", "service_tier", "safety_identifier",
               "prompt_cache_key", "max_tool_calls"});
  if (!format.is_null()) chat["response_format"] = format;
  constexpr std::pair<const char*, const char*> kSame[] = {{"model", "model"},
                                                           {"temperature", "temperature"},
                                                           {"top_p", "top_p"},
                                                           {"stream", "stream"},
                                                           {"user", "user"},
                                                           {"seed", "seed"},
                                                           {"stop", "stop"},
                                                           {"parallel_tool_calls", "parallel_tool_calls"},
                                                           {"max_output_tokens", "max_tokens"}};
  for (const auto& [theirs, ours] : kSame)
    if (const Json* value = fields.get(theirs)) chat[ours] = *value;
  if (find_bool(chat, "stream").value_or(false)) chat["stream_options"] = {{"include_usage", true}};
  return fields.finish();
}

ApiError responses_error(ApiError error) {
  constexpr FieldName kNames[] = {{"max_tokens", "max_output_tokens"},
                                  {"messages", "input"},
                                  {"response_format.json_schema", "text.format"},
                                  {"response_format", "text.format"},
                                  {".function.name", ".name"},
                                  {".function.parameters", ".parameters"}};
  return renamed(std::move(error), kNames);
}

ReplyCallback responses_reply(const Json& body, ReplyCallback reply) {
  auto translator = std::make_shared<Responses>(body, std::move(reply));
  return [translator](const Reply& r) { translator->take(r); };
}

}  // namespace mlc::serve::openai
