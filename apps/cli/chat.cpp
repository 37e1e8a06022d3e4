// mlc_llm chat: a conversation at the terminal (mlc-facts 1.10).
#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <optional>

#include "apps/cli/commands.h"
#include "apps/cli/knobs.h"
#include "apps/cli/line_editor.h"
#include "apps/cli/session.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

constexpr const char* kPrompt = ">>> ";
constexpr const char* kHelp =
    "You can use the following special commands:\n"
    "  /help               print this\n"
    "  /exit               quit\n"
    "  /stats              tokens per second of the last answer\n"
    "  /metrics            counters of the engine\n"
    "  /reset              forget the conversation\n"
    "  /set k=v;k=v        temperature, top_p, frequency_penalty, presence_penalty, repetition_penalty, max_tokens, seed,\n"
    "                      stop (comma list)\n"
    "Esc then Enter starts a new line; Ctrl-C stops an answer.\n";

std::atomic<bool> stop_answer{false};

void on_interrupt(int) { stop_answer = true; }

// While it lives, Ctrl-C stops the answer and not the program.
class InterruptsAnswer {
 public:
  InterruptsAnswer() {
    stop_answer = false;
    struct sigaction action {};
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART;  // a write to the terminal goes on
    sigaction(SIGINT, &action, &before_);
  }
  ~InterruptsAnswer() { sigaction(SIGINT, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

struct Flags {
  SessionFlags session;
  std::string prompt;
};

class Chat {
 public:
  // `interactive`: Ctrl-C stops an answer and not the program.
  Chat(Session& session, bool interactive)
      : session_(session), interactive_(interactive), config_(session.generation_defaults()) {
    forget();
  }

  // False when the conversation is over; an error says what is wrong with the line, and nothing has changed.
  Result<bool> handle(const std::string& line) {
    if (line.empty()) return true;
    Status status;
    std::string command = split(line, ' ')[0];
    if (line[0] != '/') status = answer(line);
    else if (command == "/exit") return false;
    else if (command == "/help") std::fputs(kHelp, stdout);
    else if (command == "/stats") print_stats();
    else if (command == "/metrics") print_metrics();
    else if (command == "/reset") forget();
    else if (command == "/set") status = set(std::string(trim(line.substr(4))));
    else status = unknown(command);
    if (!status.is_ok()) return status;
    return true;
  }

 private:
  static Status unknown(const std::string& command) {
    const std::vector<std::string> known = {"/exit", "/help", "/metrics", "/reset", "/set", "/stats"};
    return Status::error(str(command, ": unknown command, expected one of ", join(known, ", "), did_you_mean(command, known)));
  }

  void forget() {
    messages_ = Json::array();
    session_.engine->reset();
  }

  Status set(const std::string& text) {
    ASSIGN_OR_RETURN(Knobs knobs, parse_knobs(text, "/set", {"frequency_penalty", "max_tokens", "presence_penalty", "repetition_penalty", "seed", "stop", "temperature", "top_p"}));
    serve::GenerationConfig changed = config_;
    const std::pair<const char*, double*> numbers[] = {{"temperature", &changed.temperature},
                                                       {"top_p", &changed.top_p},
                                                       {"frequency_penalty", &changed.frequency_penalty},
                                                       {"presence_penalty", &changed.presence_penalty},
                                                       {"repetition_penalty", &changed.repetition_penalty}};
    for (const auto& [key, target] : numbers)
      if (auto it = knobs.find(key); it != knobs.end()) {
        ASSIGN_OR_RETURN(*target, knob_number("/set", key, it->second));
      }
    if (auto it = knobs.find("max_tokens"); it != knobs.end()) {
      ASSIGN_OR_RETURN(changed.max_tokens, knob_int("/set", "max_tokens", it->second));
    }
    if (auto it = knobs.find("seed"); it != knobs.end()) {
      ASSIGN_OR_RETURN(int64_t seed, knob_int("/set", "seed", it->second));
      changed.seed = static_cast<uint64_t>(seed);
    }
    if (auto it = knobs.find("stop"); it != knobs.end()) {
      changed.stop_strings = session_.generation_defaults().stop_strings;
      for (std::string& s : split(it->second, ',')) changed.stop_strings.push_back(std::move(s));
    }
    RETURN_IF_ERROR(changed.validate());
    config_ = std::move(changed);
    return Status::ok();
  }

  Status answer(const std::string& line) {
    if (!is_valid_utf8(line))
      return Status::error("prompt: it is not valid UTF-8; check the terminal's encoding or convert the text first");
    messages_.push_back({{"role", "user"}, {"content", line}});
    auto prompt = session_.chat_template->encode(messages_, *session_.tokenizer);
    Status status = prompt.is_ok() ? generate(std::move(prompt).value()) : prompt.status();
    if (!status.is_ok()) messages_.erase(messages_.size() - 1);
    return status;
  }

  Status generate(std::vector<int32_t> prompt) {
    std::string text;
    serve::StreamUpdate last;
    serve::Request request{next_id_++, std::move(prompt), config_, [&](const serve::StreamUpdate& u) {
                             text += u.text;
                             std::fwrite(u.text.data(), 1, u.text.size(), stdout);
                             std::fflush(stdout);
                             last = u;
                           }};
    serve::RequestId id = request.id;
    RETURN_IF_ERROR(session_.engine->add_request(std::move(request)));
    std::optional<InterruptsAnswer> guard;
    if (interactive_) guard.emplace();
    while (last.finish == serve::FinishReason::kNone && session_.engine->step())
      if (guard && stop_answer) session_.engine->abort(id);
    std::fputc('\n', stdout);
    std::fflush(stdout);
    if (last.finish == serve::FinishReason::kError) return Status::error(last.error);
    metrics_ = last.metrics;
    messages_.push_back({{"role", "assistant"}, {"content", text}});
    if (last.finish == serve::FinishReason::kLength && config_.max_tokens < 0) shorten_history();
    return Status::ok();
  }

  void shorten_history() {
    std::printf("[the answer was cut: the context is full; the oldest messages are dropped]\n");
    size_t drop = (messages_.size() + 3) / 4 * 2;
    messages_.erase(messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(std::min(drop, messages_.size())));
  }

  void print_stats() const {
    std::printf("prefill: %.1f tok/s, decode: %.1f tok/s\n", metrics_.prefill_tokens_per_second(),
                metrics_.decode_tokens_per_second());
  }

  void print_metrics() const {
    const serve::EngineMetrics& m = session_.engine->metrics();
    std::printf("engine_prefill_time_sum\t%g\nengine_decode_time_sum\t%g\nprefill_tokens_sum\t%lld\ndecode_tokens_sum\t%lld\n"
                "finished_requests\t%lld\nlast_prompt_tokens\t%lld\nlast_prefilled_tokens\t%lld\n",
                m.prefill_seconds, m.decode_seconds, static_cast<long long>(m.prefill_tokens),
                static_cast<long long>(m.decode_tokens), static_cast<long long>(m.finished_requests),
                static_cast<long long>(metrics_.prompt_tokens), static_cast<long long>(metrics_.prefilled_tokens));
  }

  Session& session_;
  bool interactive_;
  serve::GenerationConfig config_;
  Json messages_;
  serve::RequestMetrics metrics_;
  serve::RequestId next_id_ = 0;
};

// Runs one line. A mistake is told and forgiven at a terminal; elsewhere nobody would see it, so it ends the program.
Result<bool> run_line(Chat& conversation, const std::string& line, bool forgive) {
  auto more = conversation.handle(line);
  std::fflush(stdout);
  if (more.is_ok() || !forgive) return more;
  std::fprintf(stderr, "%s\n", more.status().message().c_str());
  return true;
}

Status chat(const Flags& flags) {
  ASSIGN_OR_RETURN(auto session, open_session(flags.session));
  LineEditor editor(kPrompt);
  Chat conversation(*session, editor.interactive());
  if (editor.interactive()) std::fputs(kHelp, stdout);
  if (!flags.prompt.empty()) {
    if (editor.interactive()) std::printf("%s%s\n", kPrompt, flags.prompt.c_str());
    ASSIGN_OR_RETURN(bool more, run_line(conversation, flags.prompt, editor.interactive()));
    if (!more || !editor.interactive()) return Status::ok();
  }
  while (std::optional<std::string> line = editor.read()) {
    ASSIGN_OR_RETURN(bool more, run_line(conversation, *line, editor.interactive()));
    if (!more) break;
  }
  return Status::ok();
}

}  // namespace

void add_chat(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand("chat", "Chat with a model; converts and compiles it first if need be");
  add_session_flags(*sub, flags->session);
  sub->add_option("--prompt", flags->prompt, "a first message; the only one where input is no terminal");
  sub->callback([flags] { throw_if_error(chat(*flags)); });
}

}  // namespace mlc::cli
