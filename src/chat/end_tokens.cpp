// Collects end tokens and their reasons.
#include "chat/end_tokens.h"

#include <algorithm>
#include <map>
#include <set>

namespace mlc {
namespace {

constexpr int32_t kDefaultId = 2;  // what MLC writes as eos_token_id where a checkpoint states none

// The texts that llama.cpp ends generation at, whatever the model.
constexpr std::string_view kEndTexts[] = {"<|eot_id|>",
                                          "<|im_end|>",
                                          "<|end|>",
                                          "<|return|>",
                                          "<|call|>",
                                          "<|flush|>",
                                          "<|calls|>",
                                          "<end_of_turn>",
                                          "<|endoftext|>",
                                          "</s>",
                                          "<|eom_id|>",
                                          "<EOT>",
                                          "_<EOT>",
                                          "[EOT]",
                                          "[EOS]",
                                          "<|end_of_text|>",
                                          "<end_of_utterance>",
                                          "<eos>",
                                          "<turn|>",
                                          "<|tool_response>",
                                          "<｜end▁of▁sentence｜>",
                                          "[e~["};

class Rule {
 public:
  Rule(const Json& config, const ChatTemplate& chat_template, const Tokenizer& tokenizer)
      : config_(config), template_(chat_template), tokenizer_(tokenizer) {}

  std::vector<EndToken> apply() {
    for (int32_t id : template_.conversation().stop_token_ids)
      add(id, "stop_token_ids of the conversation template");
    add_config();
    add_eos_tokens();
    if (std::optional<int32_t> id = marker()) add(*id, "the chat template puts it after an answer");
    for (int32_t id = 0; id < tokenizer_.vocab_size(); ++id)
      if (tokenizer_.token_kind(id) != TokenKind::kOrdinary && ends_by_text(tokenizer_.token_text(id)))
        add(id, "a known end token by its text");
    std::vector<EndToken> tokens;
    for (auto& [id, token] : found_) tokens.push_back(std::move(token));
    return tokens;
  }

 private:
  void add(int64_t id, const std::string& reason) {
    if (id < 0 || id > INT32_MAX) return;
    int32_t token = static_cast<int32_t>(id);
    EndToken& end = found_[token];
    end.id = token;
    end.text = tokenizer_.token_text(token);
    end.reasons.push_back(reason);
  }

  void add_config() {
    const Json* eos = find(config_, "eos_token_id");
    if (!eos) return;
    const std::string reason = "eos_token_id of mlc-chat-config.json";
    if (!eos->is_array()) {
      std::optional<int64_t> id = find_int(config_, "eos_token_id");
      if (id && (id != kDefaultId || is_end_token_text(tokenizer_.token_text(kDefaultId)))) add(*id, reason);
      return;
    }
    for (const Json& id : *eos)
      if (id.is_number_integer()) add(id.get<int64_t>(), reason);
  }

  void add_eos_tokens() {
    std::string of_files = tokenizer_.special().text("eos_token");
    std::string of_template =
        find_string(template_.conversation().template_variables, "eos_token").value_or("");
    for (const std::string& text : std::set<std::string>{of_files, of_template})
      if (std::optional<int32_t> id = text.empty() ? std::nullopt : tokenizer_.token_id(text))
        add(*id, "eos_token of the tokenizer");
  }

  // Texts that end turns of some models and stand inside the answers of others.
  bool ends_by_text(const std::string& text) const {
    auto has = [&](std::string_view other) { return tokenizer_.token_id(other).has_value(); };
    if (text == "<|end|>" && ((has("<|return|>") && has("<|call|>")) ||
                              (has("<|flush|>") && (has("<|call|>") || has("<|calls|>")))))
      return false;  // ends a channel, not the answer
    if (text == "</s>" && has("<|tool_response>")) return false;
    return is_end_token_text(text);
  }

  // The first token that is not ordinary text in what follows an answer: where the answer is the last
  // message, or where it is not (some templates leave the last one open).
  std::optional<int32_t> marker() const {
    for (bool parts : {false, true})
      for (bool last : {true, false})
        if (std::optional<int32_t> id = marker(parts, last)) return id;
    return std::nullopt;
  }

  std::optional<int32_t> marker(bool parts, bool last) const {
    // Words that no template looks for.
    const std::string question = "qzquestionqz", answer = "qzanswerqz", next = "qznextqz";
    auto content = [&](const std::string& text) {
      return parts ? Json::array({Json{{"type", "text"}, {"text", text}}}) : Json(text);
    };
    Json messages = {{{"role", "user"}, {"content", content(question)}},
                     {{"role", "assistant"}, {"content", content(answer)}}};
    if (!last) messages.push_back({{"role", "user"}, {"content", content(next)}});
    RenderOptions options;
    options.add_generation_prompt = false;
    auto prompt = template_.render(messages, options);
    if (!prompt.is_ok()) return std::nullopt;
    std::string text;
    for (const PromptPiece& piece : *prompt) text += piece.text;
    size_t at = text.rfind(answer);
    if (at == std::string::npos) return std::nullopt;
    std::string tail = text.substr(at + answer.size());
    tail = tail.substr(0, tail.find(next));
    auto ids = tokenizer_.encode(tail);
    if (!ids.is_ok()) return std::nullopt;
    return first_marker(*ids);
  }

  std::optional<int32_t> first_marker(const std::vector<int32_t>& ids) const {
    for (int32_t id : ids) {
      const std::string& bytes = tokenizer_.token_bytes()[static_cast<size_t>(id)];
      if (bytes.find_first_not_of(" \t\r\n") == std::string::npos) continue;
      bool marker = tokenizer_.token_kind(id) != TokenKind::kOrdinary;
      bool inside = tokenizer_.token_text(id) == "<|end|>" && !ends_by_text("<|end|>");
      return marker && !inside ? std::optional(id) : std::nullopt;
    }
    return std::nullopt;
  }

  const Json& config_;
  const ChatTemplate& template_;
  const Tokenizer& tokenizer_;
  std::map<int32_t, EndToken> found_;
};

}  // namespace

std::vector<EndToken> end_tokens(const Json& config, const ChatTemplate& chat_template,
                                 const Tokenizer& tokenizer) {
  return Rule(config, chat_template, tokenizer).apply();
}

std::vector<int32_t> ids_of(const std::vector<EndToken>& tokens) {
  std::vector<int32_t> ids;
  for (const EndToken& token : tokens) ids.push_back(token.id);
  return ids;
}

bool is_end_token_text(std::string_view text) {
  return std::find(std::begin(kEndTexts), std::end(kEndTexts), text) != std::end(kEndTexts);
}

}  // namespace mlc
