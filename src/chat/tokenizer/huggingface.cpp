// Hugging Face tokenizers over the C border.
#include "chat/tokenizer/huggingface.h"

#include "base/strings.h"
#include "chat/text_bytes.h"

namespace mlc {
namespace {

class HuggingFaceTokenizer : public TokenizerBackend {
 public:
  HuggingFaceTokenizer(MlcTokenizer* handle, std::string what) : handle_(handle), what_(std::move(what)) {}
  ~HuggingFaceTokenizer() override { mlc_tokenizer_free(handle_); }

  Result<std::vector<int32_t>> encode(std::string_view text, bool special) const override {
    TextBytes ids, error;
    if (!mlc_tokenizer_encode(handle_, text_data(text), text.size(), special, ids.out(), error.out()))
      return failure(error);
    std::vector<int32_t> result(ids.view().size() / sizeof(int32_t));
    if (!result.empty()) std::memcpy(result.data(), ids.view().data(), result.size() * sizeof(int32_t));
    return result;
  }

  Result<std::string> decode(std::span<const int32_t> ids, bool skip_special) const override {
    TextBytes text, error;
    static_assert(sizeof(int32_t) == sizeof(uint32_t));
    if (!mlc_tokenizer_decode(handle_, reinterpret_cast<const uint32_t*>(ids.data()), ids.size(),
                              skip_special, text.out(), error.out()))
      return failure(error);
    return text.text();
  }

  Result<std::vector<Token>> tokens() const override {
    TextBytes table, error;
    if (!mlc_tokenizer_tokens(handle_, table.out(), error.out())) return failure(error);
    std::vector<Token> tokens;
    std::string_view rest = table.view();
    constexpr size_t kHead = 9;  // id 4 + kind 1 + length 4
    while (rest.size() >= kHead) {
      Token token;
      uint32_t length = 0;
      std::memcpy(&token.id, rest.data(), 4);
      token.kind = static_cast<TokenKind>(rest[4]);
      std::memcpy(&length, rest.data() + 5, 4);
      token.text = rest.substr(kHead, length);
      rest.remove_prefix(kHead + length);
      tokens.push_back(std::move(token));
    }
    return tokens;
  }

 private:
  Status failure(const TextBytes& error) const { return Status::error(str(what_, ": ", error.view())); }

  MlcTokenizer* handle_;
  std::string what_;
};

using Handle = std::unique_ptr<MlcTokenizer, decltype(&mlc_tokenizer_free)>;

Result<std::string> added_tokens(const Handle& handle, const std::string& what) {
  TextBytes list, error;
  if (!mlc_tokenizer_added(handle.get(), list.out(), error.out()))
    return Status::error(str(what, ": ", error.view()));
  return list.text();
}

}  // namespace

Result<std::unique_ptr<TokenizerBackend>> make_huggingface_tokenizer(std::string_view json,
                                                                     const std::string& what,
                                                                     const std::vector<AddedToken>& more,
                                                                     std::string* changed) {
  TextBytes error;
  Handle handle(mlc_tokenizer_new(text_data(json), json.size(), error.out()), mlc_tokenizer_free);
  if (!handle) return Status::error(str(what, ": ", error.view()));
  if (!more.empty()) {
    ASSIGN_OR_RETURN(std::string before, added_tokens(handle, what));
    std::string list = added_tokens_json(more);
    TextBytes failed;
    if (!mlc_tokenizer_add(handle.get(), text_data(list), list.size(), failed.out()))
      return Status::error(str(what, ": ", failed.view()));
    ASSIGN_OR_RETURN(std::string after, added_tokens(handle, what));
    if (changed && after != before) *changed = std::move(after);
  }
  return std::unique_ptr<TokenizerBackend>(new HuggingFaceTokenizer(handle.release(), what));
}

}  // namespace mlc
