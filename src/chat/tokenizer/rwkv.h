// RWKV "world" vocabularies: tokens are byte strings, and text is cut into the longest tokens from left to
// right.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "chat/tokenizer/tokenizer.h"

namespace mlc {

using RwkvVocabulary = std::map<int32_t, std::string>;  // id -> bytes

// rwkv_vocab_v########.txt: lines of `<id> <Python string or bytes literal> <byte length>`. Literals are
// parsed, never evaluated: escapes \\ \' \" \n \r \t \a \b \f \v \0-\777 \xNN, and \uNNNN \UNNNNNNNN in
// strings.
Result<RwkvVocabulary> read_rwkv_text(std::string_view text, const std::string& what);
// rwkv_vocab_v########.json: one object {token: id}.
Result<RwkvVocabulary> read_rwkv_json(std::string_view text, const std::string& what);

// tokenizer_model: a msgpack map of ids (integers) to tokens (bin or str), in the shortest encodings.
std::string write_rwkv_model(const RwkvVocabulary& vocabulary);
Result<RwkvVocabulary> read_rwkv_model(std::string_view msgpack, const std::string& what);

// Text is taken as bytes; a byte that starts no token is dropped. Ids without a token decode to nothing.
std::unique_ptr<TokenizerBackend> make_rwkv_tokenizer(RwkvVocabulary vocabulary);

}  // namespace mlc
