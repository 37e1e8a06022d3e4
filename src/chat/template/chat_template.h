// One way from messages to a prompt: a conversation preset, or the checkpoint's own Jinja template.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chat/template/conversation.h"
#include "chat/tokenizer/tokenizer.h"

struct MlcTemplate;

namespace mlc {

// A parsed Jinja chat template that renders what transformers' apply_chat_template renders. Immutable; any
// thread.
class JinjaTemplate {
 public:
  // `what` starts errors; a syntax error names its line.
  static Result<std::shared_ptr<const JinjaTemplate>> parse(std::string_view source, const std::string& what);
  ~JinjaTemplate();
  JinjaTemplate(const JinjaTemplate&) = delete;
  JinjaTemplate& operator=(const JinjaTemplate&) = delete;

  // `variables`: a JSON object (messages, tools, add_generation_prompt, bos_token, ...). `now`: seconds since
  // 1970 that strftime_now shows in local time; negative for the present. Endless loops, deep recursion and
  // output past 64 MiB end with an error.
  Result<std::string> render(const Json& variables, int64_t now = -1) const;

 private:
  JinjaTemplate(MlcTemplate* handle, std::string what) : handle_(handle), what_(std::move(what)) {}
  MlcTemplate* handle_;
  std::string what_;
};

struct RenderOptions {
  Json tools;                         // list of OpenAI tools for Jinja templates; null: none
  std::string function_string;        // what presets put in place of {function_string}
  bool add_generation_prompt = true;  // open the assistant's turn
  Json variables;  // further variables for Jinja templates (enable_thinking, documents, ...)
};

// The template of one model: presets and Jinja behind one call.
class ChatTemplate {
 public:
  // Uses conversation.jinja_template when there is one. Errors start with `what`.
  static Result<ChatTemplate> create(Conversation conversation, const std::string& what);

  // The prompt of OpenAI-style messages; errors start with the `what` of create.
  Result<std::vector<PromptPiece>> render(const Json& messages, const RenderOptions& options = {}) const;
  // render(), with the text pieces tokenized.
  Result<std::vector<int32_t>> encode(const Json& messages, const Tokenizer& tokenizer,
                                      const RenderOptions& options = {}) const;

  bool is_jinja() const { return jinja_ != nullptr; }
  // Roles, stop strings and stop token ids.
  const Conversation& conversation() const { return conversation_; }

 private:
  Conversation conversation_;
  std::shared_ptr<const JinjaTemplate> jinja_;
  std::string what_;
};

// The template text of a checkpoint: chat_template.jinja, else the `chat_template` of chat_template.json or
// tokenizer_config.json (a text, or a list of {name, template} of which "default" is meant); nullopt when
// there is none. `folder` holds the files.
Result<std::optional<std::string>> find_jinja_template(const std::string& folder);

}  // namespace mlc
