// The tokenizer behind a tokenizer.json: the Rust text library.
#pragma once

#include <memory>

#include "chat/tokenizer/tokenizer.h"

namespace mlc {

// An error is one sentence that starts with `what`.
Result<std::unique_ptr<TokenizerBackend>> make_huggingface_tokenizer(std::string_view json, const std::string& what);

}  // namespace mlc
