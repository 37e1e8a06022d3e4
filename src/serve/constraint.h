// What a request's grammar says about its next token: a mask, made while the device computes the logits.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "chat/grammar/grammar.h"
#include "serve/sample/generation_config.h"

namespace mlc::serve {

class Constraint {
 public:
  // Precondition: config.grammar. Errors of all functions start with response_format.
  static Result<std::unique_ptr<Constraint>> start(const GenerationConfig& config);

  // Makes the mask of the next token, unless it is made. The request's stop tokens stand in it where the text
  // is complete, else only where nothing else may come.
  Status prepare();
  bool prepared() const { return prepared_; }
  // Precondition: prepared().
  const TokenMask& mask() const { return mask_; }
  // The text goes on with a token of the mask.
  Status accept(int32_t token);
  // Whether the text is complete and nothing can be added.
  bool complete() const { return matcher_.complete(); }
  // The tokens that must come next.
  Result<std::vector<int32_t>> forced();
  // How many of the proposals, the first ones, may come next.
  size_t valid(std::span<const int32_t> proposals);

 private:
  Constraint(GrammarMatcher matcher, const GenerationConfig& config);
  GrammarMatcher matcher_;
  std::vector<int32_t> stops_;  // that end the text
  TokenMask mask_;
  bool prepared_ = false;
};

}  // namespace mlc::serve
