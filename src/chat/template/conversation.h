// Conversation templates as MLC LLM writes them in mlc-chat-config.json (`conv_template`, fact sheet 4.5):
// the rules that turn messages into a prompt, the presets, and their JSON form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace mlc {

// A run of a prompt: token ids that are already known, or text still to be tokenized (then `ids` is empty).
struct PromptPiece {
  std::vector<int32_t> ids;
  std::string text;
  bool operator==(const PromptPiece&) const = default;
};

// Texts by role ("user", "assistant", "tool") in the order they were written.
using RoleTexts = std::vector<std::pair<std::string, std::string>>;

struct Conversation {
  std::string name;  // "" is written as an absent key
  std::string system_template = "{system_message}";
  std::string system_message;  // default; a request's system messages replace it
  std::optional<std::vector<int32_t>> system_prefix_token_ids;  // ids in front of the whole prompt (BOS)
  bool add_role_after_system_message = true;  // false: the first message gets no role after a system text
  RoleTexts roles;
  RoleTexts role_templates;  // "{user_message}" and so on are replaced by the content
  std::vector<std::pair<std::string, std::optional<std::string>>> messages;  // seed history: role, content
  std::vector<std::string> seps;  // after user and tool: the first; after assistant: the last
  std::string role_content_sep;   // between role and content
  std::string role_empty_sep;     // after the role that is to be generated
  std::vector<std::string> stop_str;
  std::vector<int32_t> stop_token_ids;
  bool strip_reasoning_in_history = false;  // drop "...</think>" of assistant turns before the last user turn
  std::string function_string;              // replaces {function_string}
  bool use_function_calling = false;

  // The checkpoint's own Jinja template; when not empty it renders the prompt instead of the fields above,
  // with these variables: texts (bos_token, ...) and lists of texts (additional_special_tokens). The keys are
  // ours: written only with a template, bos_token and eos_token beside it and the others in `special_tokens`;
  // other readers of the file skip them.
  std::string jinja_template;
  Json template_variables = Json::object();

  Json to_json() const;
  // Absent keys take their defaults. Errors start with `what`: a wrong type, or `seps` of a length other than
  // 1 or 2.
  static Result<Conversation> from_json(const Json& object, const std::string& what);

  // The prompt of `messages` (objects with `role` and `content`: text, null, or a list of {"type": "text"}
  // parts), with the seed history in front; an assistant turn is opened at the end unless `open_assistant` is
  // false. Errors start with `what`: a role the template lacks, content of another type (images come with
  // vision models).
  Result<std::vector<PromptPiece>> render(const Json& messages, const std::string& function_string,
                                          bool open_assistant, const std::string& what) const;
};

// A current preset by name, else the one of the 2023 era; the error names the nearest one. `bos_token_id`
// fills the prefix of 2023 presets that put the model's BOS in front.
Result<Conversation> find_preset(std::string_view name, int32_t bos_token_id = 1);
// The 2023 data first: for model folders of that time, whose conv_template is a name.
Result<Conversation> find_preset_2023(std::string_view name, int32_t bos_token_id);
// Names of the current presets (those that --conv-template offers), sorted without regard to case.
std::vector<std::string> preset_names();
// Names that only the 2023 era has.
std::vector<std::string> preset_names_2023();

}  // namespace mlc
