// Answers questions within a context.
#include "apps/cli/conversation.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>

#include "apps/cli/commands.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

std::atomic<bool> stop_answer{false};

void on_interrupt(int) { stop_answer = true; }

// While it lives, Ctrl-C stops the answer and not the program.
class InterruptsAnswer {
 public:
  InterruptsAnswer() {
    stop_answer = false;
    struct sigaction action{};
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART;  // a write to the terminal goes on
    sigaction(SIGINT, &action, &before_);
  }
  ~InterruptsAnswer() { sigaction(SIGINT, &before_, nullptr); }

 private:
  struct sigaction before_{};
};

Json message(const char* role, const std::string& content) { return {{"role", role}, {"content", content}}; }

Status check_text(const std::string& text) {
  if (text.find('\0') != std::string::npos)
    return Status::error(
        "prompt: it holds a NUL byte, expected UTF-8 text; convert UTF-16 or binary input first");
  if (!is_valid_utf8(text))
    return Status::error(
        "prompt: it is not valid UTF-8; check the terminal's encoding or convert the text first");
  return Status::ok();
}

}  // namespace

ChatConversation::ChatConversation(Session& session, serve::GenerationConfig config,
                                   std::optional<std::string> system_prompt, bool interactive)
    : session_(session),
      config_(std::move(config)),
      system_prompt_(std::move(system_prompt)),
      interactive_(interactive) {}

void ChatConversation::forget() {
  messages_ = Json::array();
  session_.engine->reset();
}

Status ChatConversation::check_system_prompt() const {
  if (!system_prompt_) return Status::ok();
  RETURN_IF_ERROR(check_text(*system_prompt_));
  auto rendered =
      session_.chat_template->render(Json::array({message("system", *system_prompt_), message("user", "x")}));
  return rendered.is_ok() ? Status::ok() : Status::error("--system-prompt: " + rendered.status().message());
}

ChatConversation::Refusal ChatConversation::ask(const std::string& text) {
  if (Status status = check_text(text); !status.is_ok()) return {status, true};
  messages_.push_back(message("user", text));
  auto prompt = fitting_prompt();
  Status status = prompt.is_ok() ? generate(std::move(prompt).value()) : prompt.status();
  if (!status.is_ok()) messages_.erase(messages_.size() - 1);
  return {status, !prompt.is_ok()};
}

Result<std::vector<int32_t>> ChatConversation::encode(size_t dropped) const {
  Json messages = Json::array();
  if (system_prompt_) messages.push_back(message("system", *system_prompt_));
  messages.insert(messages.end(), messages_.begin() + static_cast<std::ptrdiff_t>(dropped), messages_.end());
  return session_.chat_template->encode(messages, *session_.tokenizer);
}

Result<std::vector<int32_t>> ChatConversation::fitting_prompt() {
  const int64_t context = session_.model->context_tokens();
  auto fits = [](const std::vector<int32_t>& prompt, int64_t tokens) {
    return static_cast<int64_t>(prompt.size()) <= tokens;
  };
  // An answer wants some room too.
  const int64_t room =
      std::max<int64_t>(1, std::min(context / 8, config_.max_tokens < 0 ? context : config_.max_tokens));
  ASSIGN_OR_RETURN(auto prompt, encode(0));
  if (fits(prompt, context - room)) return prompt;
  // As few turns as make room for a quarter: dropping one before every question would compute the whole
  // prompt anew each time.
  const int64_t wanted = context - std::max(room, context / 4);
  size_t turns = messages_.size() / 2, low = 0;
  for (size_t high = turns; low < high;) {
    size_t middle = (low + high) / 2;
    ASSIGN_OR_RETURN(auto shorter, encode(2 * middle));
    if (fits(shorter, wanted))
      high = middle;
    else
      low = middle + 1;
  }
  ASSIGN_OR_RETURN(prompt, encode(2 * low));
  if (!fits(prompt, context - 1))
    return Status::error(str("prompt: this message does not fit into the context even alone: the prompt has ",
                             prompt.size(), " tokens in total, larger than the limit ", context - 1,
                             "; shorten it, or raise --context-window-size "
                             "(context_window_size in --overrides)"));
  if (low == 0) return prompt;
  messages_.erase(messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(2 * low));
  note(str("the conversation no longer fits into the context of ", context, " tokens: its oldest ", 2 * low,
           " messages are dropped; /reset begins a new one"));
  return prompt;
}

Status ChatConversation::generate(std::vector<int32_t> prompt) {
  std::string text;
  serve::StreamUpdate last;
  serve::Request request{next_id_++, std::move(prompt), config_, [&](const serve::StreamUpdate& u) {
                           text += u.text;
                           std::fwrite(u.text.data(), 1, u.text.size(), stdout);
                           std::fflush(stdout);
                           last = u;
                         }};
  request.config.end_cycles = true;
  request.adapter = session_.adapter;
  serve::RequestId id = request.id;
  RETURN_IF_ERROR(session_.engine->add_request(std::move(request)));
  std::optional<InterruptsAnswer> guard;
  if (interactive_) guard.emplace();
  while (last.finish == serve::FinishReason::kNone && session_.engine->step())
    if (guard && stop_answer) session_.engine->abort(id);
  std::fputc('\n', stdout);
  std::fflush(stdout);
  if (last.finish == serve::FinishReason::kError) return Status::error(last.error);
  last_ = last;
  messages_.push_back(message("assistant", text));
  after_cut();
  return Status::ok();
}

void ChatConversation::after_cut() {
  if (last_.finish == serve::FinishReason::kCycle)
    note(str("the answer was ended: its last ", serve::CycleDetector::kTokens,
             " tokens only repeat themselves"));
  bool full = last_.finish == serve::FinishReason::kLength &&
              (config_.max_tokens < 0 || last_.metrics.completion_tokens < config_.max_tokens);
  if (!full) return;
  size_t drop = std::min((messages_.size() + 3) / 4 * 2, messages_.size());
  messages_.erase(messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(drop));
  note(
      "the answer was cut: the context is full; the oldest messages are dropped; /reset begins a new "
      "conversation");
}

void ChatConversation::note(const std::string& text) const {
  if (interactive_ && ::isatty(STDERR_FILENO))
    std::fprintf(stderr, "\033[2m%s\033[0m\n", text.c_str());
  else
    print_line("note: " + text);
}

}  // namespace mlc::cli
