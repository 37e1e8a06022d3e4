// Keeps the vocabulary's tables.
#include "chat/tokenizer/tokenizer.h"

#include <algorithm>

#include "base/file.h"
#include "base/strings.h"
#include "chat/tokenizer/byte_level.h"
#include "chat/tokenizer/folder.h"
#include "chat/tokenizer/huggingface.h"
#include "chat/tokenizer/rwkv.h"

namespace mlc {
namespace {

constexpr int32_t kMaxVocab = 1 << 24;  // the largest published vocabularies have under 2^19 tokens

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::load(const std::string& folder,
                                                         std::optional<TokenizerInfo> info) {
  std::string base = folder;
  if (!is_directory(base)) {
    size_t slash = base.find_last_of('/');
    base = slash == std::string::npos ? "." : base.substr(0, slash);
  }
  ASSIGN_OR_RETURN(FolderTokenizer read, read_folder_tokenizer(base, std::move(info)));
  return read.tokenizer;
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_json(std::string_view json, const std::string& what,
                                                              std::optional<TokenizerInfo> info) {
  ASSIGN_OR_RETURN(TokenizerInfo detected, detect_tokenizer_info(json, what));
  ASSIGN_OR_RETURN(auto backend, make_huggingface_tokenizer(json, what));
  return build(std::move(backend), info.value_or(detected), /*text_is_bytes=*/false, {}, what);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_rwkv(std::string_view msgpack,
                                                              const std::string& what) {
  ASSIGN_OR_RETURN(auto vocabulary, read_rwkv_model(msgpack, what));
  return build(make_rwkv_tokenizer(std::move(vocabulary)), TokenizerInfo{}, /*text_is_bytes=*/true, {}, what);
}

Result<std::shared_ptr<const Tokenizer>> Tokenizer::build(std::unique_ptr<TokenizerBackend> backend,
                                                          TokenizerInfo info, bool text_is_bytes,
                                                          SpecialTokens special, const std::string& what) {
  auto tokenizer = std::make_shared<Tokenizer>();
  Tokenizer& t = *tokenizer;
  t.backend_ = std::move(backend);
  t.info_ = std::move(info);
  t.special_ = std::move(special);
  t.what_ = what;
  ASSIGN_OR_RETURN(std::vector<Token> tokens, t.backend_->tokens());
  if (tokens.empty()) return Status::error(str(what, ": the vocabulary is empty; the file is damaged"));
  int32_t last = tokens.back().id;
  if (last < 0 || last >= kMaxVocab)
    return Status::error(
        str(what, ": token id ", last, " found, expected below ", kMaxVocab, "; the file is damaged"));
  t.texts_.resize(last + 1);
  t.bytes_.resize(last + 1);
  t.kinds_.resize(last + 1, TokenKind::kOrdinary);
  t.token_count_ = static_cast<int32_t>(tokens.size());
  for (Token& token : tokens) {
    t.bytes_[token.id] = text_is_bytes ? token.text : token_text_to_bytes(token.text, t.info_);
    t.kinds_[token.id] = token.kind;
    t.texts_[token.id] = std::move(token.text);
    t.by_text_.push_back(token.id);
  }
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text) const {
  return backend_->encode(text, false);
}

Result<std::vector<int32_t>> Tokenizer::encode_with_special(std::string_view text) const {
  return backend_->encode(text, true);
}

Result<std::vector<int32_t>> Tokenizer::encode_continuation(std::string_view text) const {
  if (!info_.prepend_space_in_encode || text.empty()) return encode(text);
  // U+0001 keeps the prepended space from joining the text: the first two tokens are "\u2581" and "<0x01>".
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, encode("\x01" + std::string(text)));
  if (ids.size() < 2) return Status::error(str(what_, ": cannot encode text without a space in front of it"));
  ids.erase(ids.begin(), ids.begin() + 2);
  return ids;
}

Result<std::string> Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  return backend_->decode(ids, skip_special);
}

const std::string& Tokenizer::token_text(int32_t id) const {
  static const std::string kNone;
  return id >= 0 && id < vocab_size() ? texts_[id] : kNone;
}

std::optional<int32_t> Tokenizer::token_id(std::string_view text) const {
  std::call_once(sorted_, [&] {
    std::sort(by_text_.begin(), by_text_.end(), [&](int32_t a, int32_t b) { return texts_[a] < texts_[b]; });
  });
  auto it = std::lower_bound(by_text_.begin(), by_text_.end(), text,
                             [&](int32_t id, std::string_view t) { return texts_[id] < t; });
  return it != by_text_.end() && texts_[*it] == text ? std::optional(*it) : std::nullopt;
}

TokenKind Tokenizer::token_kind(int32_t id) const {
  return id >= 0 && id < vocab_size() ? kinds_[id] : TokenKind::kOrdinary;
}

}  // namespace mlc
