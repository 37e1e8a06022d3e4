// Chunks and whole answers to blocks.
#include "service/openai/answer_translator.h"

#include "base/check.h"

namespace mlc::serve::openai {
namespace {

Json parsed(const std::string& text) {
  auto json = parse_json(text, "answer");
  internal_check(json.is_ok(), "an answer of ours is JSON");
  return std::move(*json);
}

// What stands behind the "call_" or "chatcmpl-" of an id of ours.
std::string digits_of(const Json& object) {
  const std::string id = find_string(object, "id").value_or("");
  return id.substr(id.find_first_of("-_") + 1);
}

}  // namespace

void AnswerTranslator::take(const Reply& reply) {
  if (reply.status != 200) return reply_({.status = reply.status, .text = error_json(reply)});
  if (!reply.stream) return take_whole(reply.text);
  reply.last ? finish_stream() : take_chunk(reply.text);
}

void AnswerTranslator::take_whole(const std::string& text) {
  const Json chat = parsed(text);
  set_head(chat);
  const Json& choice = chat["choices"][0];
  const Json& message = choice["message"];
  if (auto thought = find_string(message, "reasoning_content"); thought && !thought->empty())
    blocks_.push_back({AnswerPartKind::kReasoning, *thought, "", ""});
  const std::string content = find_string(message, "content").value_or("");
  const Json* calls = find(message, "tool_calls");
  if (!content.empty() || !calls) blocks_.push_back({AnswerPartKind::kText, content, "", ""});
  if (calls)
    for (const Json& call : *calls)
      blocks_.push_back({AnswerPartKind::kCall, call["function"]["arguments"].get<std::string>(),
                         digits_of(call), call["function"]["name"].get<std::string>()});
  set_finish(choice);
  usage_ = chat["usage"];
  reply_({.text = whole_json()});
}

void AnswerTranslator::take_chunk(const std::string& text) {
  const Json chunk = parsed(text);
  if (find(chunk, "error")) {
    failed_ = true;
    return fail(chunk["error"]["message"].get<std::string>());
  }
  if (!begun_) {
    begun_ = true;
    set_head(chunk);
    begin();
  }
  if (const Json* usage = find(chunk, "usage")) usage_ = *usage;
  for (const Json& choice : chunk["choices"]) {
    const Json& delta = choice["delta"];
    put(AnswerPartKind::kReasoning, find_string(delta, "reasoning_content").value_or(""));
    put(AnswerPartKind::kText, find_string(delta, "content").value_or(""));
    if (const Json* calls = find(delta, "tool_calls"))
      for (const Json& call : *calls) put_call(call);
    if (find(choice, "finish_reason")) set_finish(choice);
  }
}

void AnswerTranslator::finish_stream() {
  if (begun_ && !failed_) {
    if (blocks_.empty()) open_block({});
    if (open_) close();
    end();
  }
  reply_({.text = "", .stream = true, .event = "end"});
}

void AnswerTranslator::set_head(const Json& chat) {
  id_ = digits_of(chat);
  created_ = chat["created"];
  model_ = chat["model"];
}

void AnswerTranslator::set_finish(const Json& choice) {
  finish_ = find_string(choice, "finish_reason").value_or("");
  stop_string_ = find_string(choice, "stop_reason").value_or("");
}

void AnswerTranslator::put(AnswerPartKind kind, const std::string& text) {
  if (text.empty()) return;
  if (!open_ || blocks_.back().kind != kind) open_block({kind, "", "", ""});
  blocks_.back().text += text;
  grow(text);
}

void AnswerTranslator::put_call(const Json& call) {
  const Json& function = call["function"];
  if (auto name = find_string(function, "name"))
    open_block({AnswerPartKind::kCall, "", digits_of(call), *name});
  put(AnswerPartKind::kCall, find_string(function, "arguments").value_or(""));
}

void AnswerTranslator::open_block(AnswerBlock block) {
  if (open_) close();
  blocks_.push_back(std::move(block));
  open_ = true;
  open();
}

void AnswerTranslator::send(const char* type, const Json& fields) {
  Json event = {{"type", type}};
  for (const auto& field : fields.items()) event[field.key()] = field.value();
  reply_({.text = json_text(event), .stream = true, .last = false, .event = type});
}

}  // namespace mlc::serve::openai
