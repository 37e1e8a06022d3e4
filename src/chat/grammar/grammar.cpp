// llguidance over the C border.
#include "chat/grammar/grammar.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/strings.h"
#include "chat/grammar/gbnf.h"
#include "chat/text_bytes.h"

namespace mlc {
namespace {

constexpr uint64_t kCompileWorkPerMillisecond = 50'000, kMaskWorkPerMillisecond = 14'000;  // llguidance's own
constexpr uint64_t kSymbols = 500'000;  // a few megabytes of schema; bytes hit before

// MlcEncode: forced text goes on from other text.
size_t encode_text(const void* context, const uint8_t* text, size_t size, uint32_t* ids, size_t room) {
  const auto& tokenizer = *static_cast<const Tokenizer*>(context);
  auto encoded = tokenizer.encode_continuation({reinterpret_cast<const char*>(text), size});
  if (!encoded.is_ok()) return SIZE_MAX;  // the library then cuts the text by itself
  if (encoded->size() <= room && !encoded->empty())
    std::memcpy(ids, encoded->data(), encoded->size() * sizeof(uint32_t));
  return encoded->size();
}

std::string token_table(const Tokenizer& tokenizer) {
  std::string table;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string& bytes = tokenizer.token_bytes()[static_cast<size_t>(id)];
    const auto size = static_cast<uint32_t>(bytes.size());
    char length[sizeof size];
    std::memcpy(length, &size, sizeof size);
    table += static_cast<char>(tokenizer.token_kind(id));
    table.append(length, sizeof size);
    table += bytes;
  }
  return table;
}

const uint32_t* ids_of(std::span<const int32_t> tokens) {
  return reinterpret_cast<const uint32_t*>(tokens.data());
}

Status failure(const TextBytes& error) { return Status::error(error.text()); }

}  // namespace

GrammarMatcher::GrammarMatcher(GrammarMatcher&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), vocab_size_(other.vocab_size_) {}

GrammarMatcher& GrammarMatcher::operator=(GrammarMatcher&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(vocab_size_, other.vocab_size_);
  return *this;
}

GrammarMatcher::~GrammarMatcher() { mlc_matcher_free(handle_); }

Result<TokenMask> GrammarMatcher::mask() {
  TokenMask mask;
  mask.words.resize(static_cast<size_t>(vocab_size_) / 32 + 1);  // and the bit behind the last id
  TextBytes error;
  if (!mlc_matcher_mask(handle_, mask.words.data(), mask.words.size(), error.out())) return failure(error);
  mask.may_end = mask.allows(vocab_size_);
  mask.set(vocab_size_, false);
  return mask;
}

Status GrammarMatcher::accept(int32_t token) {
  TextBytes error;
  const int32_t one[] = {token};
  return mlc_matcher_accept(handle_, ids_of(one), 1, error.out()) ? Status::ok() : failure(error);
}

Result<size_t> GrammarMatcher::valid(std::span<const int32_t> tokens) {
  TextBytes error;
  size_t count = 0;
  // A model may have more tokens than its tokenizer: they are no text.
  const auto unknown = std::ranges::find_if(tokens, [&](int32_t id) { return id < 0 || id >= vocab_size_; });
  tokens = tokens.first(static_cast<size_t>(unknown - tokens.begin()));
  if (!mlc_matcher_valid(handle_, ids_of(tokens), tokens.size(), &count, error.out())) return failure(error);
  return count;
}

Result<std::vector<int32_t>> GrammarMatcher::forced() {
  TextBytes ids, error;
  if (!mlc_matcher_forced(handle_, ids.out(), error.out())) return failure(error);
  std::vector<int32_t> tokens(ids.view().size() / sizeof(int32_t));
  if (tokens.empty()) return tokens;
  std::memcpy(tokens.data(), ids.view().data(), tokens.size() * sizeof(int32_t));
  // A tokenizer may read a special token into text that has one's name.
  ASSIGN_OR_RETURN(const size_t count, valid(tokens));
  tokens.resize(count);
  return tokens;
}

bool GrammarMatcher::complete() const { return mlc_matcher_stopped(handle_); }

Result<std::shared_ptr<const GrammarVocabulary>> GrammarVocabulary::create(
    std::shared_ptr<const Tokenizer> tokenizer) {
  std::shared_ptr<GrammarVocabulary> result(new GrammarVocabulary(std::move(tokenizer)));
  const std::string table = token_table(*result->tokenizer_);
  TextBytes error;
  result->handle_ =
      mlc_vocabulary_new(text_data(table), table.size(), result->tokenizer_.get(), encode_text, error.out());
  if (!result->handle_) return failure(error);
  return std::shared_ptr<const GrammarVocabulary>(std::move(result));
}

GrammarVocabulary::~GrammarVocabulary() { mlc_vocabulary_free(handle_); }

Result<std::shared_ptr<const Grammar>> Grammar::compile(std::shared_ptr<const GrammarVocabulary> vocabulary,
                                                        GrammarKind kind, std::string_view text,
                                                        const GrammarLimits& limits,
                                                        const std::string& what) {
  if (static_cast<int64_t>(text.size()) > limits.bytes)
    return Status::error(
        str(what, ": found ", text.size(), " bytes, expected at most ", limits.bytes, "; make it smaller"));
  std::string lark;
  if (kind == GrammarKind::kGbnf) {
    auto written = gbnf_to_lark(text, limits.depth);
    if (!written.is_ok()) return Status::error(str(what, ": ", written.status().message()));
    lark = std::move(*written);
    text = lark;
    kind = GrammarKind::kLark;
  }
  const auto milliseconds = static_cast<uint64_t>(limits.milliseconds);
  const MlcGrammarLimits bounds = {
      kSymbols, static_cast<uint64_t>(limits.states), milliseconds * kCompileWorkPerMillisecond,
      milliseconds * kMaskWorkPerMillisecond / 10, static_cast<uint64_t>(limits.depth)};
  std::shared_ptr<Grammar> result(new Grammar(std::move(vocabulary)));
  TextBytes error;
  result->start_ = mlc_matcher_new(result->vocabulary_->handle_, static_cast<uint8_t>(kind), text_data(text),
                                   text.size(), &bounds, error.out());
  if (!result->start_) return Status::error(str(what, ": ", error.view()));
  return std::shared_ptr<const Grammar>(std::move(result));
}

Result<std::shared_ptr<const Grammar>> GrammarCompiler::compile(GrammarKind kind, std::string_view text,
                                                                const GrammarLimits& limits,
                                                                const std::string& what) const {
  std::call_once(once_, [&] { vocabulary_ = GrammarVocabulary::create(tokenizer_); });
  if (!vocabulary_->is_ok()) return vocabulary_->status();
  return Grammar::compile(vocabulary_->value(), kind, text, limits, what);
}

Grammar::~Grammar() { mlc_matcher_free(start_); }

Result<GrammarMatcher> Grammar::start() const {
  TextBytes error;
  MlcMatcher* handle = mlc_matcher_fork(start_, error.out());
  if (!handle) return failure(error);
  return GrammarMatcher(handle, vocabulary_->tokenizer_->vocab_size());
}

}  // namespace mlc
