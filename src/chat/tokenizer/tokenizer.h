// Text <-> token ids for one model, whatever form its tokenizer was published in.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/tokenizer/info.h"
#include "chat/tokenizer/special_tokens.h"

namespace mlc {

// Ordinary tokens come from merging text; added ones are cut out of the text before that; special ones are
// added tokens that steer the model (<|im_end|>) and are left out of text by skip_special.
enum class TokenKind : uint8_t { kOrdinary = 0, kAdded = 1, kSpecial = 2 };

// One token of the vocabulary: its text as the tokenizer file writes it (bytes for RWKV vocabularies).
struct Token {
  int32_t id = 0;
  TokenKind kind = TokenKind::kOrdinary;
  std::string text;
};

// What a Tokenizer stands on; one per family (Hugging Face, RWKV). Immutable, so usable from any thread.
class TokenizerBackend {
 public:
  virtual ~TokenizerBackend() = default;
  // `special`: with the tokens that it puts around every text.
  virtual Result<std::vector<int32_t>> encode(std::string_view text, bool special) const = 0;
  virtual Result<std::string> decode(std::span<const int32_t> ids, bool skip_special) const = 0;
  // The whole vocabulary in id order.
  virtual Result<std::vector<Token>> tokens() const = 0;
};

// An immutable tokenizer, shared by all requests; any thread may use it at any time.
class Tokenizer {
 public:
  // From a model folder (or a file in it): the union of its files, as folder.h says. `info` overrides what is
  // detected (the `tokenizer_info` of mlc-chat-config.json).
  static Result<std::shared_ptr<const Tokenizer>> load(const std::string& folder,
                                                       std::optional<TokenizerInfo> info = std::nullopt);
  // From the text of a tokenizer.json; `what` starts error messages.
  static Result<std::shared_ptr<const Tokenizer>> from_json(std::string_view json, const std::string& what,
                                                            std::optional<TokenizerInfo> info = std::nullopt);
  // From the bytes of an RWKV tokenizer_model: a msgpack map {id: bytes}.
  static Result<std::shared_ptr<const Tokenizer>> from_rwkv(std::string_view msgpack,
                                                            const std::string& what);

  // On a backend; `text_is_bytes`: its token texts are bytes, not what a tokenizer.json writes.
  static Result<std::shared_ptr<const Tokenizer>> build(std::unique_ptr<TokenizerBackend> backend,
                                                        TokenizerInfo info, bool text_is_bytes,
                                                        SpecialTokens special, const std::string& what);

  // The ids of `text`, special tokens in it recognised, nothing added in front (no BOS). Bytes that are not
  // UTF-8 are read as U+FFFD.
  Result<std::vector<int32_t>> encode(std::string_view text) const;
  // The same with the tokens that the tokenizer's post-processor puts around a text ([CLS] and [SEP], an
  // end), as models that give embeddings read it.
  Result<std::vector<int32_t>> encode_with_special(std::string_view text) const;
  // The same for text that continues other text: without the space that SentencePiece puts in front of it.
  Result<std::vector<int32_t>> encode_continuation(std::string_view text) const;
  // The text of `ids`; ids outside the vocabulary give nothing; bytes that are not UTF-8 come out as U+FFFD.
  Result<std::string> decode(std::span<const int32_t> ids, bool skip_special = false) const;

  // The largest id + 1.
  int32_t vocab_size() const { return static_cast<int32_t>(texts_.size()); }
  // Tokens that exist (ids may have gaps): len() of a Hugging Face tokenizer.
  int32_t token_count() const { return token_count_; }
  // The text of one token as its file writes it; empty for a gap or an id outside the vocabulary.
  const std::string& token_text(int32_t id) const;
  std::optional<int32_t> token_id(std::string_view text) const;
  TokenKind token_kind(int32_t id) const;
  // vocab_size entries: the bytes each token puts into the text (token_text_to_bytes), for stop strings and
  // grammars.
  const std::vector<std::string>& token_bytes() const { return bytes_; }
  const TokenizerInfo& info() const { return info_; }
  // bos_token and so on; empty where the tokenizer was made from a tokenizer.json alone.
  const SpecialTokens& special() const { return special_; }

 private:
  std::unique_ptr<TokenizerBackend> backend_;
  TokenizerInfo info_;
  SpecialTokens special_;
  std::string what_;
  int32_t token_count_ = 0;
  std::vector<std::string> texts_, bytes_;
  std::vector<TokenKind> kinds_;
  // Ids sorted by text, for token_id; sorting them takes a tenth of loading, so the first that asks does.
  mutable std::vector<int32_t> by_text_;
  mutable std::once_flag sorted_;
};

}  // namespace mlc
