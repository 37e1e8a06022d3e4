// Anthropic's /v1/messages.
#include <memory>
#include <string>

#include "base/strings.h"
#include "service/openai/fields.h"
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

class Messages {
 public:
  explicit Messages(ReplyCallback reply) : reply_(std::move(reply)) {}

  void take(const Reply& reply) {
    if (reply.status != 200) return refuse(reply);
    if (!reply.stream) return whole(reply);
    if (reply.last) return end();
    auto chunk = parse_json(reply.text, "chunk");
    internal_check(chunk.is_ok(), "a chunk of ours is JSON");
    if (find(*chunk, "error")) {
      failed_ = true;
      return send("error",
                  {{"error", {{"type", "overloaded_error"}, {"message", (*chunk)["error"]["message"]}}}});
    }
    if (!begun_) begin(*chunk);
    if (const Json* usage = find(*chunk, "usage")) usage_ = *usage;
    for (const Json& choice : (*chunk)["choices"]) {
      const std::string text = find_string(choice["delta"], "content").value_or("");
      if (!text.empty())
        send("content_block_delta", {{"index", 0}, {"delta", {{"type", "text_delta"}, {"text", text}}}});
      if (find(choice, "finish_reason")) set_stop(choice);
    }
  }

 private:
  void refuse(const Reply& reply) {
    auto error = parse_json(reply.text, "error");
    internal_check(error.is_ok(), "an error of ours is JSON");
    reply_({.status = reply.status,
            .text = anthropic_error_json(reply.status, (*error)["error"]["message"].get<std::string>())});
  }

  void set_stop(const Json& choice) {
    const std::string finish = find_string(choice, "finish_reason").value_or("stop");
    const Json* stop = find(choice, "stop_reason");
    stop_sequence_ = stop ? *stop : Json(nullptr);
    stop_reason_ = stop ? "stop_sequence" : finish == "length" ? "max_tokens" : "end_turn";
  }

  static Json usage_of(const Json& usage) {
    const int64_t cached = find(usage, "prompt_tokens_details")
                               ? find_int(usage["prompt_tokens_details"], "cached_tokens").value_or(0)
                               : 0;
    // Of the input what was not read from the cache, as Anthropic counts.
    return {{"input_tokens", find_int(usage, "prompt_tokens").value_or(0) - cached},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", cached},
            {"output_tokens", find_int(usage, "completion_tokens").value_or(0)}};
  }

  Json message(const Json& chat, Json content, const Json& usage) const {
    return {{"id", "msg_" + find_string(chat, "id").value_or("").substr(9)},  // behind "chatcmpl-"
            {"type", "message"},
            {"role", "assistant"},
            {"model", chat["model"]},
            {"content", std::move(content)},
            {"stop_reason", stop_reason_},
            {"stop_sequence", stop_sequence_},
            {"usage", usage_of(usage)}};
  }

  void whole(const Reply& reply) {
    auto chat = parse_json(reply.text, "answer");
    internal_check(chat.is_ok(), "an answer of ours is JSON");
    const Json& choice = (*chat)["choices"][0];
    set_stop(choice);
    Json content =
        Json::array({{{"type", "text"}, {"text", find_string(choice["message"], "content").value_or("")}}});
    reply_({.text = json_text(message(*chat, std::move(content), (*chat)["usage"]))});
  }

  void begin(const Json& chunk) {
    begun_ = true;
    send("message_start", {{"message", message(chunk, Json::array(), Json::object())}});
    send("content_block_start", {{"index", 0}, {"content_block", {{"type", "text"}, {"text", ""}}}});
    send("ping", Json::object());
  }

  void end() {
    if (begun_ && !failed_) {
      send("content_block_stop", {{"index", 0}});
      send("message_delta", {{"delta", {{"stop_reason", stop_reason_}, {"stop_sequence", stop_sequence_}}},
                             {"usage", usage_of(usage_)}});
      send("message_stop", Json::object());
    }
    reply_({.text = "", .stream = true, .event = "end"});
  }

  void send(const char* type, const Json& fields) {
    Json event = {{"type", type}};
    for (const auto& field : fields.items()) event[field.key()] = field.value();
    reply_({.text = json_text(event), .stream = true, .last = false, .event = type});
  }

  ReplyCallback reply_;
  Json usage_ = Json::object(), stop_reason_, stop_sequence_;
  bool begun_ = false, failed_ = false;
};

}  // namespace

std::string anthropic_error_json(int status, const std::string& message) {
  return json_text({{"type", "error"}, {"error", {{"type", anthropic_type(status)}, {"message", message}}}});
}

ApiError messages_to_chat(const Json& body, Json& chat) {
  Fields fields(body);
  Json messages = Json::array();
  if (const Json* system = fields.get("system"))
    messages.push_back({{"role", "system"}, {"content", *system}});
  const Json* given = fields.get("messages");
  if (!given || !given->is_array()) {
    fields.wrong("messages", given ? *given : Json(nullptr), "a list of messages");
  } else {
    for (const Json& message : *given) {
      if (const std::string role = find_string(message, "role").value_or("");
          role != "user" && role != "assistant")
        fields.wrong("messages", Json(role), "the roles user and assistant");
      messages.push_back(message);
    }
  }
  if (!fields.get("max_tokens"))
    fields.wrong("max_tokens", nullptr, "a whole number: Anthropic's API asks for it");
  fields.refuse("tools", Json::array(), "tools are not built here yet; use /v1/chat/completions");
  fields.refuse("thinking", {{"type", "disabled"}}, "thinking is not built yet; leave it out");
  fields.skip({"metadata", "service_tier", "tool_choice", "cache_control"});
  chat = {{"messages", std::move(messages)}, {"n", 1}};
  constexpr std::pair<const char*, const char*> kSame[] = {
      {"model", "model"}, {"max_tokens", "max_tokens"}, {"temperature", "temperature"}, {"top_p", "top_p"},
      {"top_k", "top_k"}, {"stream", "stream"},         {"stop_sequences", "stop"}};
  for (const auto& [theirs, ours] : kSame)
    if (const Json* value = fields.get(theirs)) chat[ours] = *value;
  if (find_bool(chat, "stream").value_or(false)) chat["stream_options"] = {{"include_usage", true}};
  return fields.finish();
}

ReplyCallback messages_reply(ReplyCallback reply) {
  auto translator = std::make_shared<Messages>(std::move(reply));
  return [translator](const Reply& r) { translator->take(r); };
}

}  // namespace mlc::serve::openai
