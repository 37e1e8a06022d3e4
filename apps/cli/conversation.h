// The conversation that chat holds: what was said, what of it still fits into the context, and the answers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/cli/session.h"

namespace mlc::cli {

class ChatConversation {
 public:
  // `interactive`: notes are dim and Ctrl-C stops an answer and not the program. `system_prompt` is said
  // before everything else, in place of the template's own, and stays.
  ChatConversation(Session& session, serve::GenerationConfig config, std::optional<std::string> system_prompt,
                   bool interactive);

  // Whether the chat template takes the system prompt.
  Status check_system_prompt() const;

  struct Refusal {
    Status why;
    bool unsent = false;  // the message was never given to the model: another one may well be answered
  };
  // Answers on standard output. Where the conversation has outgrown the context, its oldest turns are
  // forgotten, with a note. An error leaves the conversation as it was.
  Refusal ask(const std::string& text);
  void forget();

  const serve::GenerationConfig& config() const { return config_; }
  void set_config(serve::GenerationConfig config) { config_ = std::move(config); }
  // Of the last answer.
  const serve::RequestMetrics& metrics() const { return last_.metrics; }
  serve::FinishReason finish() const { return last_.finish; }

 private:
  // The prompt of the first messages dropped, the newest kept.
  Result<std::vector<int32_t>> encode(size_t dropped) const;
  Result<std::vector<int32_t>> fitting_prompt();
  Status generate(std::vector<int32_t> prompt);
  void after_cut();
  void note(const std::string& text) const;

  Session& session_;
  serve::GenerationConfig config_;
  std::optional<std::string> system_prompt_;
  bool interactive_;
  Json messages_ = Json::array();  // user and assistant in turns
  serve::StreamUpdate last_;
  serve::RequestId next_id_ = 0;
};

}  // namespace mlc::cli
