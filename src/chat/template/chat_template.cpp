// Jinja templates over the C border, and the choice between them and presets.
#include "chat/template/chat_template.h"

#include <array>
#include <ctime>

#include "base/file.h"
#include "base/platform/platform.h"
#include "base/strings.h"
#include "chat/text_bytes.h"

namespace mlc {
namespace {

// Local time in the order that mlc_template_render takes.
std::array<int32_t, 7> clock_of(int64_t now) {
  std::time_t seconds = now < 0 ? std::time(nullptr) : static_cast<std::time_t>(now);
  const std::tm local = platform::local_time(seconds);
  return {local.tm_year + 1900, local.tm_mon + 1, local.tm_mday,    local.tm_hour,
          local.tm_min,         local.tm_sec,     local.tm_yday + 1};
}

std::optional<std::string> template_in(const Json& config) {
  const Json* value = find(config, "chat_template");
  if (value && value->is_string()) return value->get<std::string>();
  if (!value || !value->is_array()) return std::nullopt;
  for (const Json& entry : *value)
    if (find_string(entry, "name") == "default") return find_string(entry, "template");
  return value->empty() ? std::nullopt : find_string((*value)[0], "template");
}

}  // namespace

Result<std::shared_ptr<const JinjaTemplate>> JinjaTemplate::parse(std::string_view source,
                                                                  const std::string& what) {
  TextBytes error;
  MlcTemplate* handle = mlc_template_new(text_data(source), source.size(), error.out());
  if (!handle) return Status::error(str(what, ": ", error.view()));
  return std::shared_ptr<const JinjaTemplate>(new JinjaTemplate(handle, what));
}

JinjaTemplate::~JinjaTemplate() { mlc_template_free(handle_); }

Result<std::string> JinjaTemplate::render(const Json& variables, int64_t now) const {
  std::string context = json_text(variables);
  std::array<int32_t, 7> clock = clock_of(now);
  TextBytes text, error;
  if (!mlc_template_render(handle_, text_data(context), context.size(), clock.data(), text.out(),
                           error.out()))
    return Status::error(str(what_, ": ", error.view()));
  return text.text();
}

Result<ChatTemplate> ChatTemplate::create(Conversation conversation, const std::string& what) {
  ChatTemplate result;
  result.what_ = what;
  if (!conversation.jinja_template.empty()) {
    ASSIGN_OR_RETURN(result.jinja_, JinjaTemplate::parse(conversation.jinja_template, what));
  }
  result.conversation_ = std::move(conversation);
  return result;
}

Result<std::vector<PromptPiece>> ChatTemplate::render(const Json& messages,
                                                      const RenderOptions& options) const {
  if (!jinja_)
    return conversation_.render(messages, options.function_string, options.add_generation_prompt, what_);
  Json variables = options.variables.is_object() ? options.variables : Json::object();
  variables["messages"] = messages;
  variables["tools"] = options.tools;
  if (!variables.contains("documents")) variables["documents"] = nullptr;
  variables["add_generation_prompt"] = options.add_generation_prompt;
  for (const auto& [name, value] : conversation_.template_variables.items())
    if (!variables.contains(name)) variables[name] = value;  // a caller's own win, as in transformers
  ASSIGN_OR_RETURN(std::string text, jinja_->render(variables));
  return std::vector<PromptPiece>{{{}, std::move(text)}};
}

Result<std::vector<int32_t>> ChatTemplate::encode(const Json& messages, const Tokenizer& tokenizer,
                                                  const RenderOptions& options) const {
  ASSIGN_OR_RETURN(std::vector<PromptPiece> prompt, render(messages, options));
  std::vector<int32_t> ids;
  for (const PromptPiece& piece : prompt) {
    ids.insert(ids.end(), piece.ids.begin(), piece.ids.end());
    if (piece.text.empty()) continue;
    ASSIGN_OR_RETURN(std::vector<int32_t> text_ids, tokenizer.encode(piece.text));
    ids.insert(ids.end(), text_ids.begin(), text_ids.end());
  }
  return ids;
}

Result<std::optional<std::string>> find_jinja_template(const std::string& folder) {
  std::string jinja = path_join(folder, "chat_template.jinja");
  if (file_exists(jinja)) {
    ASSIGN_OR_RETURN(std::string text, read_file(jinja));
    return std::optional(std::move(text));
  }
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    std::string path = path_join(folder, name);
    if (!file_exists(path)) continue;
    ASSIGN_OR_RETURN(Json config, read_json_file(path));
    if (std::optional<std::string> text = template_in(config)) return text;
  }
  return std::optional<std::string>();
}

}  // namespace mlc
