// OpenAI's /v1/responses. Nothing is stored: a conversation is sent whole.
#include <memory>
#include <string>
#include <vector>

#include "base/strings.h"
#include "service/openai/answer.h"
#include "service/openai/fields.h"
#include "service/openai/translate.h"

namespace mlc::serve::openai {
namespace {

void read_input(Fields& fields, Json& messages) {
  const Json* input = fields.get("input");
  if (!input) return fields.wrong("input", nullptr, "a string or a list of messages");
  if (input->is_string()) {
    messages.push_back({{"role", "user"}, {"content", *input}});
    return;
  }
  if (!input->is_array()) return fields.wrong("input", *input, "a string or a list of messages");
  for (const Json& item : *input) {
    const std::string type = find_string(item, "type").value_or("message");
    if (type != "message")
      return fields.fail(
          bad_field("input", str("input: found an item of type '", type, "', expected messages alone")));
    Json message = Json::object();
    for (const char* key : {"role", "content"})
      if (const Json* value = find(item, key)) message[key] = *value;
    messages.push_back(std::move(message));
  }
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

// The fields of a response that repeat its request.
Json echoed(const Json& body) {
  auto or_null = [&](const char* key) { return find(body, key) ? *find(body, key) : Json(nullptr); };
  return {{"instructions", or_null("instructions")},
          {"max_output_tokens", or_null("max_output_tokens")},
          {"temperature", or_null("temperature")},
          {"top_p", or_null("top_p")},
          {"metadata", find(body, "metadata") ? *find(body, "metadata") : Json::object()},
          {"parallel_tool_calls", true},
          {"previous_response_id", nullptr},
          {"reasoning", {{"effort", nullptr}, {"summary", nullptr}}},
          {"store", false},
          {"text", find(body, "text") ? *find(body, "text") : Json{{"format", {{"type", "text"}}}}},
          {"tool_choice", "auto"},
          {"tools", Json::array()},
          {"truncation", "disabled"},
          {"user", or_null("user")}};
}

class Responses {
 public:
  Responses(const Json& body, ReplyCallback reply) : echo_(echoed(body)), reply_(std::move(reply)) {}

  void take(const Reply& reply) {
    if (reply.status != 200) return reply_(reply);
    if (!reply.stream) return whole(reply);
    if (reply.last) return end();
    auto chunk = parse_json(reply.text, "chunk");
    internal_check(chunk.is_ok(), "a chunk of ours is JSON");
    if (find(*chunk, "error")) {
      failed_ = true;
      return send("error",
                  {{"message", (*chunk)["error"]["message"]}, {"code", nullptr}, {"param", nullptr}});
    }
    if (!begun_) begin(*chunk);
    if (const Json* usage = find(*chunk, "usage")) usage_ = *usage;
    for (const Json& choice : (*chunk)["choices"]) {
      const std::string text = find_string(choice["delta"], "content").value_or("");
      text_ += text;
      if (!text.empty())
        send("response.output_text.delta", place({{"delta", text}, {"logprobs", Json::array()}}));
      finish_ = find_string(choice, "finish_reason").value_or(finish_);
    }
  }

 private:
  void set_head(const Json& chat) {
    id_ = "resp_" + find_string(chat, "id").value_or("").substr(9);  // behind "chatcmpl-"
    message_id_ = "msg_" + id_.substr(5);
    created_ = chat["created"];
    model_ = chat["model"];
  }

  void whole(const Reply& reply) {
    auto chat = parse_json(reply.text, "answer");
    internal_check(chat.is_ok(), "an answer of ours is JSON");
    set_head(*chat);
    const Json& choice = (*chat)["choices"][0];
    text_ = find_string(choice["message"], "content").value_or("");
    finish_ = find_string(choice, "finish_reason").value_or("");
    usage_ = (*chat)["usage"];
    reply_({.text = json_text(response(status(), true))});
  }

  void begin(const Json& chunk) {
    begun_ = true;
    set_head(chunk);
    for (const char* type : {"response.created", "response.in_progress"})
      send(type, {{"response", response("in_progress", false)}});
    send("response.output_item.added", {{"output_index", 0}, {"item", item("in_progress")}});
    send("response.content_part.added", place({{"part", part("")}}));
  }

  void end() {
    if (begun_ && !failed_) {
      send("response.output_text.done", place({{"text", text_}, {"logprobs", Json::array()}}));
      send("response.content_part.done", place({{"part", part(text_)}}));
      send("response.output_item.done", {{"output_index", 0}, {"item", item(status())}});
      send(finish_ == "stop" ? "response.completed" : "response.incomplete",
           {{"response", response(status(), true)}});
    }
    reply_({.text = "", .stream = true, .event = "end"});
  }

  const char* status() const { return finish_ == "stop" ? "completed" : "incomplete"; }
  static Json part(const std::string& text) {
    return {
        {"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
  }
  Json item(const std::string& status) const {
    Json content = Json::array();
    if (status != "in_progress") content.push_back(part(text_));
    return {{"id", message_id_},
            {"type", "message"},
            {"status", status},
            {"role", "assistant"},
            {"content", std::move(content)}};
  }
  Json response(const std::string& status, bool done) const {
    Json result = {{"id", id_},
                   {"object", "response"},
                   {"created_at", created_},
                   {"status", status},
                   {"error", nullptr},
                   {"incomplete_details", nullptr},
                   {"model", model_},
                   {"output", done ? Json::array({item(status)}) : Json::array()},
                   {"usage", nullptr}};
    if (status == "incomplete")
      result["incomplete_details"] = {{"reason", finish_ == "length" ? "max_output_tokens" : finish_}};
    if (done && usage_.is_object())
      result["usage"] = {{"input_tokens", usage_["prompt_tokens"]},
                         {"input_tokens_details", usage_["prompt_tokens_details"]},
                         {"output_tokens", usage_["completion_tokens"]},
                         {"output_tokens_details", {{"reasoning_tokens", 0}}},
                         {"total_tokens", usage_["total_tokens"]}};
    for (const auto& field : echo_.items()) result[field.key()] = field.value();
    return result;
  }
  Json place(Json fields) const {
    fields["item_id"] = message_id_;
    fields["output_index"] = 0;
    fields["content_index"] = 0;
    return fields;
  }
  void send(const char* type, Json fields) {
    Json event = {{"type", type}, {"sequence_number", next_++}};
    for (const auto& field : fields.items()) event[field.key()] = field.value();
    reply_({.text = json_text(event), .stream = true, .last = false, .event = type});
  }

  Json echo_, created_, model_, usage_;
  ReplyCallback reply_;
  std::string id_, message_id_, text_, finish_;
  bool begun_ = false, failed_ = false;
  int64_t next_ = 0;
};

}  // namespace

ApiError responses_to_chat(const Json& body, Json& chat) {
  Fields fields(body);
  Json messages = Json::array();
  if (const Json* instructions = fields.get("instructions"))
    messages.push_back({{"role", "system"}, {"content", *instructions}});
  read_input(fields, messages);
  const Json format = read_text_format(fields);
  fields.refuse("tools", Json::array(), "tools are not built here yet; use /v1/chat/completions");
  fields.refuse("background", false, "nothing is stored here; leave it out");
  for (const char* key : {"previous_response_id", "conversation", "prompt"})
    fields.refuse(key, nullptr, "nothing is stored here; send the whole conversation as input");
  fields.refuse("truncation", "disabled", "a conversation is never cut; leave it out");
  fields.skip({"store", "metadata", "include", "parallel_tool_calls", "tool_choice", "reasoning",
               "service_tier", "safety_identifier", "prompt_cache_key", "max_tool_calls"});
  chat = {{"messages", std::move(messages)}, {"n", 1}};
  if (!format.is_null()) chat["response_format"] = format;
  constexpr std::pair<const char*, const char*> kSame[] = {
      {"model", "model"}, {"temperature", "temperature"},
      {"top_p", "top_p"}, {"stream", "stream"},
      {"user", "user"},   {"seed", "seed"},
      {"stop", "stop"},   {"max_output_tokens", "max_tokens"}};
  for (const auto& [theirs, ours] : kSame)
    if (const Json* value = fields.get(theirs)) chat[ours] = *value;
  if (find_bool(chat, "stream").value_or(false)) chat["stream_options"] = {{"include_usage", true}};
  return fields.finish();
}

ReplyCallback responses_reply(const Json& body, ReplyCallback reply) {
  auto translator = std::make_shared<Responses>(body, std::move(reply));
  return [translator](const Reply& r) { translator->take(r); };
}

}  // namespace mlc::serve::openai
