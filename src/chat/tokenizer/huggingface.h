// The tokenizer behind a tokenizer.json: the Rust text library.
#pragma once

#include <memory>

#include "chat/tokenizer/tokenizer.h"

namespace mlc {

// An error is one sentence that starts with `what`. `more` is added to the file's tokens, in its order: text
// that is a token takes the flags given here, other text gets the next id. Where that changes anything and
// `changed` is not nullptr, it gets the added tokens that result, as the `added_tokens` of a tokenizer.json.
Result<std::unique_ptr<TokenizerBackend>> make_huggingface_tokenizer(std::string_view json,
                                                                     const std::string& what,
                                                                     const std::vector<AddedToken>& more = {},
                                                                     std::string* changed = nullptr);

}  // namespace mlc
