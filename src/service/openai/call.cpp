// From updates of the engine to replies.
#include "service/openai/call.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <limits>

namespace mlc::serve::openai {

Call::Call(ServedModel& model, CompletionCall asked, ReplyCallback reply, std::function<void()> on_end)
    : model_(model),
      asked_(std::move(asked)),
      head_{.chat = asked_.chat,
            .include_usage = asked_.include_usage,
            .id = new_answer_id(asked_.chat),
            .model = model.name_of(asked_.adapter),
            .created = std::time(nullptr)},
      reply_(std::move(reply)),
      on_end_(std::move(on_end)),
      choices_(asked_.prompts.size() * static_cast<size_t>(asked_.n)) {
  const AnswerForm& form = asked_.form;
  for (Choice& choice : choices_) {
    choice.id = model_.engine().next_id();
    if (asked_.chat && (form.thinks || form.tools != ToolFormat::kNone))
      choice.parser = std::make_unique<AnswerParser>(form);
  }
}

Request Call::request_of(size_t choice) {
  auto self = shared_from_this();
  return {choices_[choice].id, asked_.prompts[prompt_of(choice)],
          asked_.choice_config(static_cast<int64_t>(choice) % asked_.n),
          [self, choice](const StreamUpdate& update) { self->on_update(choice, update); }, asked_.adapter};
}

ApiError Call::check() const {
  for (const std::vector<int32_t>& prompt : asked_.prompts) {
    const Status status = model_.engine().check({-1, prompt, asked_.config, {}});
    if (status.is_ok()) continue;
    ApiError error = bad_field("", status.message());
    const bool long_prompt = static_cast<int64_t>(prompt.size()) >= model_.context_tokens();
    if (long_prompt) error.code = "context_length_exceeded";
    error.param = long_prompt || error.message.starts_with("prompt")
                      ? asked_.prompt_field()
                      : error.message.substr(0, error.message.find(':'));
    return error;
  }
  return {};
}

void Call::start() {
  std::vector<size_t> leaders;
  for (size_t i = 0; i < choices_.size(); i += static_cast<size_t>(asked_.n)) leaders.push_back(i);
  submit(std::move(leaders));
}

void Call::submit(std::vector<size_t> choices) {
  auto self = shared_from_this();
  for (size_t choice : choices) choices_[choice].begun = Clock::now();
  const bool posted = model_.engine().post([self, choices = std::move(choices)](Engine& engine) {
    for (size_t choice : choices) self->add_to(engine, choice);
  });
  if (!posted) fail("the server is shutting down and takes no more requests; try again later");
}

void Call::add_to(Engine& engine, size_t choice) {
  StreamUpdate end{.id = choices_[choice].id, .text = "", .token = -1, .finish = FinishReason::kAbort};
  if (cancelled_) return on_update(choice, end);
  Status added = engine.add_request(request_of(choice));
  if (added.is_ok()) return;
  end.finish = FinishReason::kError;
  end.error = added.message();
  on_update(choice, end);
}

// The others of a prompt whose first choice has computed it.
void Call::follow(size_t leader) {
  std::vector<size_t> others;
  for (size_t i = leader + 1; i < leader + static_cast<size_t>(asked_.n); ++i) others.push_back(i);
  if (!others.empty()) submit(std::move(others));
}

void Call::cancel() {
  cancelled_ = true;
  auto self = shared_from_this();
  model_.engine().post([self](Engine& engine) {
    for (const Choice& choice : self->choices_) engine.abort(choice.id);
  });
}

void Call::on_update(size_t index, const StreamUpdate& update) {
  Choice& choice = choices_[index];
  const bool leads = index % static_cast<size_t>(asked_.n) == 0, first = !choice.opened;
  if (update.finish == FinishReason::kError) {
    model_.count(update, 0);
    // A grammar that costs more than its limits as the text goes on is the caller's.
    return fail(update.error, update.error.starts_with("response_format") ? 400 : 503);
  }
  if (first && !ended_) begin_echo(index, update);
  if (update.logprobs) choice.held.push_back(*update.logprobs);
  if (choice.parser && !ended_) {
    std::vector<AnswerPart> parts;
    bool thinks = choice.parser->thinks();
    choice.parser->put(update.text, parts);
    thinks |= choice.parser->thinks();
    usage_.reasoning_tokens += thinks && update.token >= 0;
    if (update.finish != FinishReason::kNone) choice.parser->finish(parts);
    add_parts(index, parts);
  } else if (!ended_ && (!update.text.empty() || (first && asked_.chat && asked_.stream))) {
    add_text(index, update.text, "");
  }
  choice.opened = true;
  if (update.finish != FinishReason::kNone) finish_choice(index, update);
  if (leads && first && !ended_) follow(index);
}

void Call::add_parts(size_t index, const std::vector<AnswerPart>& parts) {
  for (const AnswerPart& part : parts) add_part(index, part);
}

void Call::add_part(size_t index, const AnswerPart& part) {
  Choice& choice = choices_[index];
  if (part.kind == AnswerPartKind::kText) return add_text(index, part.text, "");
  ChunkChoice chunk{
      .index = static_cast<int64_t>(index), .text = "", .logprobs = nullptr, .finish_reason = ""};
  if (part.kind == AnswerPartKind::kReasoning) {
    choice.reasoning += part.text;
    chunk.reasoning = part.text;
  } else if (part.kind == AnswerPartKind::kCall) {
    if (choice.tool_calls.is_null()) choice.tool_calls = Json::array();
    choice.tool_calls.push_back({{"id", "call_" + new_answer_id(false).substr(5)},  // behind "cmpl-"
                                 {"type", "function"},
                                 {"function", {{"name", part.text}, {"arguments", ""}}}});
    chunk.tool_calls = Json::array({choice.tool_calls.back()});
    chunk.tool_calls[0]["index"] = choice.tool_calls.size() - 1;
  } else {
    std::string& arguments = choice.tool_calls.back()["function"]["arguments"].get_ref<std::string&>();
    arguments += part.text;
    chunk.tool_calls =
        Json::array({{{"index", choice.tool_calls.size() - 1}, {"function", {{"arguments", part.text}}}}});
  }
  if (!asked_.stream) return;
  const std::vector<Logprobs> tokens = std::move(choice.held);
  choice.held.clear();
  if (!tokens.empty()) chunk.logprobs = logprobs_json(choice, tokens);
  say(index, std::move(chunk));
}

// With `echo` the prompt stands in front of the answer.
void Call::begin_echo(size_t index, const StreamUpdate& update) {
  if (!asked_.echo) return;
  Choice& choice = choices_[index];
  const std::vector<int32_t>& prompt = asked_.prompts[prompt_of(index)];
  if (asked_.config.prompt_logprobs) {
    choice.held.push_back({.chosen = {prompt[0], std::numeric_limits<float>::quiet_NaN()}, .top = {}});
    choice.held.insert(choice.held.end(), update.prompt_logprobs.begin(), update.prompt_logprobs.end());
  }
  add_text(index, asked_.prompt_texts[prompt_of(index)], "");
}

Json Call::logprobs_json(Choice& choice, const std::vector<Logprobs>& tokens) const {
  if (!asked_.config.logprobs) return nullptr;
  return asked_.chat ? chat_logprobs(tokens, model_.tokenizer())
                     : completion_logprobs(tokens, model_.tokenizer(), choice.offset);
}

void Call::add_text(size_t index, const std::string& text, const std::string& finish) {
  Choice& choice = choices_[index];
  const std::vector<Logprobs> tokens = std::move(choice.held);
  choice.held.clear();
  if (!asked_.stream) {
    choice.text += text;
    choice.shown.insert(choice.shown.end(), tokens.begin(), tokens.end());
    choice.finish = finish;
    return;
  }
  ChunkChoice chunk{.index = static_cast<int64_t>(index), .text = text, .finish_reason = finish};
  if (!finish.empty()) chunk.stop_string = choice.stop_string;
  if (!tokens.empty()) chunk.logprobs = logprobs_json(choice, tokens);
  say(index, std::move(chunk));
}

void Call::say(size_t index, ChunkChoice chunk) {
  Choice& choice = choices_[index];
  chunk.opens = !choice.said;
  choice.said = true;
  said_ = true;
  reply_({.text = chunk_json(head_, chunk), .stream = true, .last = false});
}

void Call::finish_choice(size_t index, const StreamUpdate& update) {
  Choice& choice = choices_[index];
  model_.count(update, std::chrono::duration<double>(Clock::now() - choice.begun).count());
  usage_.completion_tokens += update.metrics.completion_tokens;
  if (index % static_cast<size_t>(asked_.n) == 0) {
    usage_.prompt_tokens += static_cast<int64_t>(asked_.prompts[prompt_of(index)].size());
    if (update.metrics.prefilled_tokens > 0)
      usage_.cached_tokens += update.metrics.prompt_tokens - update.metrics.prefilled_tokens;
  }
  ++finished_;
  if (ended_) return;
  choice.held.clear();  // tokens of a stop string, whose text does not come out
  const auto& stops = asked_.config.stop_strings;
  if (std::find(stops.begin() + asked_.own_stops, stops.end(), update.stop_string) != stops.end())
    choice.stop_string = update.stop_string;
  if (!asked_.suffix.empty()) add_text(index, asked_.suffix, "");
  const bool calls = !choice.tool_calls.is_null() && update.finish == FinishReason::kStop;
  add_text(index, "", calls ? "tool_calls" : finish_reason_text(update.finish));
  if (finished_ == choices_.size()) end();
}

void Call::end() {
  if (asked_.stream) {
    if (asked_.include_usage)
      reply_({.text = usage_chunk_json(head_, usage_), .stream = true, .last = false});
    ended_ = true;
    on_end_();
    reply_({.text = "", .stream = true});
  } else {
    std::vector<WholeChoice> choices;
    for (Choice& choice : choices_)
      choices.push_back({choice.text, choice.finish, choice.stop_string, choice.reasoning,
                         logprobs_json(choice, choice.shown), choice.tool_calls});
    ended_ = true;
    on_end_();
    reply_({.text = answer_json(head_, choices, usage_)});
  }
}

// The engine could not go on with one of the choices: all end.
void Call::fail(const std::string& why, int status) {
  ++finished_;
  if (ended_) return;
  ended_ = true;
  on_end_();
  const ApiError error{
      .status = status, .message = why, .param = status == 400 ? "response_format" : "", .code = ""};
  if (said_) {
    reply_({.text = error.json(), .stream = true, .last = false});
    reply_({.text = "", .stream = true});
  } else {
    reply_({.status = error.status, .text = error.json()});
  }
  cancel();
}

}  // namespace mlc::serve::openai
