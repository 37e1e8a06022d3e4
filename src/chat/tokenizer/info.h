// What a tokenizer.json says about itself: how a token's text becomes bytes, and the tokens it adds.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace mlc {

// `tokenizer_info` of mlc-chat-config.json (fact sheet 4.4), also the rules for the table of token bytes.
struct TokenizerInfo {
  std::string token_postproc_method = "byte_fallback";  // or "byte_level"
  bool prepend_space_in_encode = false;                 // the normalizer prepends U+2581
  bool strip_space_in_decode = false;                   // the decoder strips one leading space

  Json to_json() const;
  // Absent keys keep their defaults; an unknown method is an error that starts with `what`.
  static Result<TokenizerInfo> from_json(const Json& object, const std::string& what);
  bool operator==(const TokenizerInfo&) const = default;
};

// The info that MLC LLM detects in the text of a tokenizer.json. Errors: not JSON, or the same content twice
// among `added_tokens`. The vocabulary is skipped, not stored. `added`, where not nullptr, gets
// `added_tokens` (null where absent).
Result<TokenizerInfo> detect_tokenizer_info(std::string_view tokenizer_json, const std::string& what,
                                            Json* added = nullptr);

// The text with the JSON `list` as its `added_tokens`.
Result<std::string> replace_added_tokens(std::string_view tokenizer_json, std::string_view list,
                                         const std::string& what);

// The bytes that token text stands for: byte_fallback reads "<0x0A>" as one byte and U+2581 as a space;
// byte_level undoes GPT-2's map. A token outside the map (an added one) stands for itself.
std::string token_text_to_bytes(std::string_view token, const TokenizerInfo& info);

}  // namespace mlc
