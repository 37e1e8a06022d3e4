// What transformers 5.24.0 knows of a tokenizer class beyond its files: the components that vocab.json and
// merges.txt do not say, and the special tokens of configs that name none.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/tokenizer/special_tokens.h"

namespace mlc {

struct TokenizerFamily {
  std::vector<std::string_view> classes;      // without "Fast"
  std::vector<std::string_view> model_types;  // config.json's model_type, where no class is given
  std::string_view words;                     // the pre-tokenizer, by its GGUF name; "" for GPT-2's own
  bool nfc = false;                           // text is normalized to NFC first
  bool plain_special = false;                 // as in TokenSettings
  std::vector<std::pair<std::string, std::string>> special;  // eos_token and so on where the config is silent
};

// nullptr where neither is known. Of a few model types published with the wrong class the type decides.
const TokenizerFamily* find_tokenizer_family(std::string_view tokenizer_class, std::string_view model_type);

// SentencePiece models: whether only the start of a text gets the space that goes in front of words, not what
// follows each special token. `config` is tokenizer_config.json.
bool prefixes_start_only(const Json& config, std::string_view model_type);

// The tokenizer.json of vocab.json {text: id} and merges.txt ("left right" per line), without added tokens.
// `family` may be nullptr: GPT-2's components. Errors start with `what`.
Result<std::string> tokenizer_json_from_vocab_and_merges(std::string_view vocab_json,
                                                         std::string_view merges_txt,
                                                         const TokenizerFamily* family, bool add_prefix_space,
                                                         const std::string& what);

}  // namespace mlc
