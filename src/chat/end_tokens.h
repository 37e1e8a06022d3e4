// What ends an answer: one rule for every user of a model, with a reason for each token.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "chat/template/chat_template.h"
#include "chat/tokenizer/tokenizer.h"

namespace mlc {

struct EndToken {
  int32_t id = 0;
  std::string text;
  std::vector<std::string> reasons;  // at least one, in the order of the rule
};

// The tokens that end an answer of the model whose mlc-chat-config.json is `config`, by id:
// - stop_token_ids of its conversation template;
// - eos_token_id of `config`, a number or a list; the number 2, which is also written where a checkpoint
// states none, only
//   where that token is an end token by name;
// - eos_token of the tokenizer's files and of the template's variables;
// - what the template puts after an answer;
// - added tokens whose text is a known end token.
std::vector<EndToken> end_tokens(const Json& config, const ChatTemplate& chat_template,
                                 const Tokenizer& tokenizer);

// The ids alone.
std::vector<int32_t> ids_of(const std::vector<EndToken>& tokens);

// Whether models of the wild end their answers with a token of this text: <|im_end|>, <|eot_id|>, </s>, ...
bool is_end_token_text(std::string_view text);

}  // namespace mlc
