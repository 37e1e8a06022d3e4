// mlc_llm chat: a conversation at the terminal (mlc-facts 1.10).
#include "apps/cli/chat.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>

#include "apps/cli/chat_line.h"
#include "apps/cli/commands.h"
#include "apps/cli/conversation.h"
#include "apps/cli/knobs.h"
#include "apps/cli/line_editor.h"
#include "apps/cli/sampling.h"
#include "apps/cli/session.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

constexpr const char* kPrompt = ">>> ";

std::string help(bool reloads) {
  return str(
      "You can use the following special commands:\n"
      "  /help               print this\n"
      "  /exit               quit\n"
      "  /stats              tokens per second of the last answer, and why it ended\n"
      "  /metrics            counters of the engine\n"
      "  /reset              forget the conversation\n"
      "  /set k=v;k=v        ",
      join(sampling_keys(), ", "), "\n",
      reloads ? "  /reload [local_id]  open another model, or this one again\n" : "",
      "Other text that begins with / goes to the model; //exit sends /exit.\n"
      "Esc then Enter starts a new line; Ctrl-C stops an answer.\n");
}

class Chat {
 public:
  Chat(Session& session, ChatConversation& conversation, bool interactive, const ChatFlags& flags)
      : session_(session), conversation_(conversation), interactive_(interactive), flags_(flags) {}

  // False when the conversation is over. Errors: a command that is wrong, or an answer that failed.
  Result<bool> handle(const std::string& text) {
    if (text.empty()) return true;
    if (flags_.reload && (text == "/reload" || text.starts_with("/reload "))) {
      ASSIGN_OR_RETURN(next_, flags_.reload(std::string(trim(text.substr(7)))));
      return false;
    }
    ChatLine line = read_chat_line(text);
    if (line.command == "/exit") return false;
    if (!line.meant.empty()) {
      const std::string word(trim(text)),
          hint = str(word, ": unknown command, did you mean '", line.meant, "'? ");
      if (interactive_) return Status::error(str(hint, "/", word, " sends it to the model"));
      print_note(hint + "It is sent to the model");
    }
    if (line.command.empty())
      RETURN_IF_ERROR(ask(line.text));
    else if (line.command == "/help")
      std::fputs(help(flags_.reload != nullptr).c_str(), stdout);
    else if (line.command == "/stats")
      print_stats();
    else if (line.command == "/metrics")
      print_metrics();
    else if (line.command == "/reset")
      conversation_.forget();
    else if (line.command == "/set")
      RETURN_IF_ERROR(set(line.text));
    return true;
  }
  // Whether any message was refused.
  bool refused() const { return refused_; }
  // What /reload asked for; the conversation is over then.
  const std::optional<SessionFlags>& next() const { return next_; }

 private:
  // A message that cannot be sent is told; the next one may be answered.
  Status ask(const std::string& text) {
    ChatConversation::Refusal refusal = conversation_.ask(text);
    if (refusal.why.is_ok() || !refusal.unsent) return refusal.why;
    refused_ = true;
    print_line((interactive_ ? "" : "error: ") + refusal.why.message());
    return Status::ok();
  }

  Status set(const std::string& text) {
    ASSIGN_OR_RETURN(Knobs knobs, parse_knobs(text, "/set", sampling_keys()));
    serve::GenerationConfig changed = conversation_.config();
    for (const auto& [key, value] : knobs)
      RETURN_IF_ERROR(
          apply_setting(changed, {key, value}, str("/set: key '", key, "'"), session_.generation_defaults()));
    conversation_.set_config(std::move(changed));
    return Status::ok();
  }

  void print_stats() const {
    const serve::RequestMetrics& last = conversation_.metrics();
    std::printf("prefill: %.1f tok/s, decode: %.1f tok/s\nfinish reason: %s\n",
                last.prefill_tokens_per_second(), last.decode_tokens_per_second(),
                serve::finish_reason_text(conversation_.finish()));
  }

  void print_metrics() const {
    const serve::EngineMetrics& m = session_.engine->metrics();
    const serve::RequestMetrics& last = conversation_.metrics();
    std::printf(
        "engine_prefill_time_sum\t%g\nengine_decode_time_sum\t%g\nprefill_tokens_sum\t%lld\ndecode_tokens_"
        "sum\t%lld\n"
        "finished_requests\t%lld\nlast_prompt_tokens\t%lld\nlast_prefilled_tokens\t%lld\n",
        m.prefill_seconds, m.decode_seconds, static_cast<long long>(m.prefill_tokens),
        static_cast<long long>(m.decode_tokens), static_cast<long long>(m.finished_requests),
        static_cast<long long>(last.prompt_tokens), static_cast<long long>(last.prefilled_tokens));
  }

  Session& session_;
  ChatConversation& conversation_;
  bool interactive_, refused_ = false;
  const ChatFlags& flags_;
  std::optional<SessionFlags> next_;
};

// Runs one line. A mistake in a command is told and forgiven at a terminal; elsewhere nobody would see it, so
// it ends the program.
Result<bool> run_line(Chat& chat, const std::string& line, bool forgive) {
  auto more = chat.handle(line);
  std::fflush(stdout);
  if (more.is_ok() || !forgive) return more;
  print_line(more.status().message());
  return true;
}

Status run_lines(Chat& chat, LineEditor& editor, const std::optional<std::string>& prompt, bool reloads) {
  if (editor.interactive()) std::fputs(help(reloads).c_str(), stdout);
  if (prompt && !prompt->empty()) {
    if (editor.interactive()) std::printf("%s%s\n", kPrompt, prompt->c_str());
    ASSIGN_OR_RETURN(bool more, run_line(chat, *prompt, editor.interactive()));
    if (!more || !editor.interactive()) return Status::ok();
  }
  while (std::optional<std::string> line = editor.read()) {
    ASSIGN_OR_RETURN(bool more, run_line(chat, *line, editor.interactive()));
    if (!more) break;
  }
  return Status::ok();
}

// Over the model's defaults.
Status apply_settings(const std::vector<GivenSetting>& settings, serve::GenerationConfig& config) {
  const serve::GenerationConfig defaults = config;
  for (const GivenSetting& setting : settings)
    RETURN_IF_ERROR(apply_setting(config, setting, flag_of(setting.key), defaults));
  return Status::ok();
}

// One model's part: its exit code, or the next model's flags.
Result<int> chat_with_one(const ChatFlags& flags, LineEditor& editor, std::optional<SessionFlags>& next) {
  ASSIGN_OR_RETURN(auto session, open_session(flags.session));
  serve::GenerationConfig config = session->generation_defaults();
  RETURN_IF_ERROR(apply_settings(flags.settings, config));
  if (Status status = config.validate(); !status.is_ok())
    return Status::error(
        str(session->name, ": ", status.message(), "; give the flag of that name, or correct the file"));
  ChatConversation conversation(*session, std::move(config), flags.system_prompt, editor.interactive());
  RETURN_IF_ERROR(conversation.check_system_prompt());
  Chat chat(*session, conversation, editor.interactive(), flags);
  RETURN_IF_ERROR(run_lines(chat, editor, flags.prompt, flags.reload != nullptr));
  next = chat.next();
  return chat.refused() && !editor.interactive() ? 1 : 0;
}

}  // namespace

Result<int> chat(ChatFlags flags) {
  serve::GenerationConfig config;
  RETURN_IF_ERROR(apply_settings(flags.settings, config));  // a mistake is told before the long work
  LineEditor editor(kPrompt);
  while (true) {
    std::optional<SessionFlags> next;
    ASSIGN_OR_RETURN(int code, chat_with_one(flags, editor, next));
    if (!next) return code;
    flags.session = *next, flags.prompt.reset();
  }
}

void add_chat(CLI::App& app) {
  auto flags = std::make_shared<ChatFlags>();
  CLI::App* sub = app.add_subcommand("chat", "Chat with a model; converts and compiles it first if need be");
  add_session_flags(*sub, flags->session);
  add_lora_flag(*sub, flags->session.lora);
  add_sampling_flags(*sub, flags->settings);
  sub->add_option("--prompt", flags->prompt, "a first message; the only one where input is no terminal");
  sub->add_option("--system-prompt", flags->system_prompt,
                  "what the model is told before the conversation; stays over /reset");
  sub->callback([flags] {
    if (int code = value_or_throw(chat(*flags)); code != 0) throw CLI::RuntimeError(code);
  });
}

}  // namespace mlc::cli
