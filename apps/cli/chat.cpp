// mlc_llm chat: a conversation at the terminal (mlc-facts 1.10).
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <csignal>
#include <cstdio>

#include "apps/cli/commands.h"
#include "apps/cli/knobs.h"
#include "apps/cli/line_editor.h"
#include "apps/cli/session.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

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
    action.sa_handler = on_interrupt;  // without SA_RESTART, so that a read at the prompt returns
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
  explicit Chat(Session& session) : session_(session), config_(session.generation_defaults()) { forget(); }

  // False when the conversation is over.
  Result<bool> handle(const std::string& line) {
    if (line.empty()) return true;
    if (line[0] != '/') {
      RETURN_IF_ERROR(answer(line));
      return true;
    }
    std::string command = split(line, ' ')[0];
    if (command == "/exit") return false;
    if (command == "/help") std::fputs(kHelp, stdout);
    else if (command == "/stats") print_stats();
    else if (command == "/metrics") print_metrics();
    else if (command == "/reset") forget();
    else if (command == "/set") report(set(std::string(trim(line.substr(4)))));
    else report(Status::error(str(command, ": unknown command", did_you_mean(command, {"/help", "/exit", "/stats", "/metrics", "/reset", "/set"}), "; /help lists them")));
    return true;
  }

 private:
  static void report(const Status& status) {
    if (!status.is_ok()) std::printf("%s\n", status.message().c_str());
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
    if (!is_valid_utf8(line)) {
      report(Status::error("prompt: it is not valid UTF-8; check the terminal's encoding"));
      return Status::ok();
    }
    messages_.push_back({{"role", "user"}, {"content", line}});
    auto prompt = session_.chat_template->encode(messages_, *session_.tokenizer);
    Status status = prompt.is_ok() ? generate(std::move(prompt).value()) : prompt.status();
    if (!status.is_ok()) {
      messages_.erase(messages_.size() - 1);
      report(status);
    }
    return Status::ok();
  }

  Status generate(std::vector<int32_t> prompt) {
    std::string text;
    serve::StreamUpdate last;
    serve::Request request{next_id_++, std::move(prompt), config_, [&](const serve::StreamUpdate& u) {
                             text += u.text;
                             std::fputs(u.text.c_str(), stdout);
                             std::fflush(stdout);
                             last = u;
                           }};
    serve::RequestId id = request.id;
    RETURN_IF_ERROR(session_.engine->add_request(std::move(request)));
    InterruptsAnswer guard;
    while (last.finish == serve::FinishReason::kNone && session_.engine->step())
      if (stop_answer) session_.engine->abort(id);
    std::fputc('\n', stdout);
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
                "finished_requests\t%lld\n",
                m.prefill_seconds, m.decode_seconds, static_cast<long long>(m.prefill_tokens),
                static_cast<long long>(m.decode_tokens), static_cast<long long>(m.finished_requests));
  }

  Session& session_;
  serve::GenerationConfig config_;
  Json messages_;
  serve::RequestMetrics metrics_;
  serve::RequestId next_id_ = 0;
};

Status chat(const Flags& flags) {
  ASSIGN_OR_RETURN(auto session, open_session(flags.session));
  Chat conversation(*session);
  LineEditor editor(">>> ");
  if (editor.interactive()) std::fputs(kHelp, stdout);
  if (!flags.prompt.empty()) {
    std::printf(">>> %s\n", flags.prompt.c_str());
    ASSIGN_OR_RETURN(bool more, conversation.handle(flags.prompt));
    if (!more || !editor.interactive()) return Status::ok();
  }
  for (;;) {
    std::optional<std::string> line;
    {
      InterruptsAnswer guard;
      line = editor.read();
    }
    if (!line) break;
    ASSIGN_OR_RETURN(bool more, conversation.handle(*line));
    if (!more) break;
  }
  return Status::ok();
}

}  // namespace

void add_chat(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand("chat", "Chat with a model; converts and compiles it first if need be");
  SessionFlags& s = flags->session;
  sub->add_option("MODEL", s.model, "a converted folder, a Hugging Face folder or a GGUF file")->required();
  sub->add_option("--device", s.device, "auto or cpu");
  sub->add_option("--model-lib", s.model_lib, "a compiled library; absent: compiled and cached");
  sub->add_option("--overrides", s.overrides, "context_window_size=2048;prefill_chunk_size=512;opt=O2");
  sub->add_option("--quantization", s.quantization, "when MODEL must be converted first");
  sub->add_option("--threads", s.threads, "CPU threads; absent: all usable cores")->check(CLI::PositiveNumber);
  sub->add_option("--prompt", flags->prompt, "a first message");
  sub->callback([flags] { throw_if_error(chat(*flags)); });
}

}  // namespace mlc::cli
