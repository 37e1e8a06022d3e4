// What an answer may be, as the set of tokens that may come next: JSON schemas, regular expressions, Lark and
// GBNF grammars (gbnf.h), through llguidance. A grammar is a stranger's text: its size and work are bounded,
// and what is wrong with it is a sentence.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/tokenizer/tokenizer.h"

struct MlcMatcher;
struct MlcVocabulary;

namespace mlc {

enum class GrammarKind : uint8_t { kJsonSchema, kRegex, kLark, kGbnf };

// Bounds on a grammar. Work is counted, not timed: what is refused does not depend on the machine or on what
// else it does.
struct GrammarLimits {
  int64_t bytes = 64 * 1024;   // of its text
  int64_t depth = 32;          // of nested values; groups of an expression may nest 4 times as deep
  int64_t states = 50'000;     // of its lexer, 1 to 2 kB each
  int64_t milliseconds = 200;  // what compiling it may cost, at 50,000 units of work in each; a mask may cost
                               // a tenth of that
};

// Which tokens may come next.
struct TokenMask {
  std::vector<uint32_t> words;  // a bit for each token, the lowest first
  bool may_end = false;         // the text is complete as it is

  bool allows(int32_t token) const {
    const auto word = static_cast<size_t>(token) / 32;
    return token >= 0 && word < words.size() && (words[word] >> (token % 32) & 1u) != 0;
  }
  void set(int32_t token, bool allowed);
  bool empty() const;
  // Puts the logits of all other tokens to minus infinity.
  void apply(std::span<float> logits) const;
};

// How far one text has come in a grammar. Used by one thread at a time.
class GrammarMatcher {
 public:
  GrammarMatcher(GrammarMatcher&& other) noexcept;
  GrammarMatcher& operator=(GrammarMatcher&& other) noexcept;
  ~GrammarMatcher();

  // The tokens that may come next. Error: the grammar needs more work or states here than its limits allow.
  Result<TokenMask> mask();
  // Goes on by a token of the last mask.
  Status accept(int32_t token);
  // How many of the tokens, the first ones, may come next in this order.
  Result<size_t> valid(std::span<const int32_t> tokens);
  // The tokens that must come next, as the tokenizer writes that text; often none.
  Result<std::vector<int32_t>> forced();
  // Whether the text is complete and nothing can be added to it.
  bool complete() const;

 private:
  friend class Grammar;
  GrammarMatcher(MlcMatcher* handle, int32_t vocab_size) : handle_(handle), vocab_size_(vocab_size) {}
  MlcMatcher* handle_;
  int32_t vocab_size_;
};

// A tokenizer's vocabulary in the form that masks are made from. Made once for a model (some 0.3 s);
// immutable and shared by its grammars.
class GrammarVocabulary {
 public:
  static Result<std::shared_ptr<const GrammarVocabulary>> create(std::shared_ptr<const Tokenizer> tokenizer);
  ~GrammarVocabulary();
  GrammarVocabulary(const GrammarVocabulary&) = delete;
  GrammarVocabulary& operator=(const GrammarVocabulary&) = delete;

  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  friend class Grammar;
  explicit GrammarVocabulary(std::shared_ptr<const Tokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {}
  std::shared_ptr<const Tokenizer> tokenizer_;
  MlcVocabulary* handle_ = nullptr;
};

// A compiled grammar, shared by the requests that have it. Immutable, any thread.
class Grammar {
 public:
  // `what` starts errors: too large, too deep, too much work, not understood, nothing matches.
  static Result<std::shared_ptr<const Grammar>> compile(std::shared_ptr<const GrammarVocabulary> vocabulary,
                                                        GrammarKind kind, std::string_view text,
                                                        const GrammarLimits& limits, const std::string& what);
  ~Grammar();
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  // Any thread.
  Result<GrammarMatcher> start() const;

 private:
  explicit Grammar(std::shared_ptr<const GrammarVocabulary> vocabulary)
      : vocabulary_(std::move(vocabulary)) {}
  std::shared_ptr<const GrammarVocabulary> vocabulary_;
  MlcMatcher* start_ = nullptr;
};

// Compiles grammars for one tokenizer, whose vocabulary is made ready when the first is asked for. Any
// thread.
class GrammarCompiler {
 public:
  explicit GrammarCompiler(std::shared_ptr<const Tokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {}
  Result<std::shared_ptr<const Grammar>> compile(GrammarKind kind, std::string_view text,
                                                 const GrammarLimits& limits, const std::string& what) const;

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  mutable std::once_flag once_;
  mutable std::optional<Result<std::shared_ptr<const GrammarVocabulary>>> vocabulary_;
};

}  // namespace mlc
