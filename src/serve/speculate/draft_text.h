// What a drafter holds of a request's text.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/sequences/sequence_store.h"

namespace mlc::serve {

struct DraftText {
  runtime::SequenceId sequence = -1;  // of the draft model; -1: it holds nothing
  int64_t computed = 0;               // the first so many tokens of the text
  std::vector<int32_t> ahead;         // behind them: proposals, right or wrong
  int64_t snapshot = 0;               // a length that it kept to come back to; 0: none
  // Of a drafter that reads them: the model's last hidden state of the token at `hidden_at` of the text, the
  // last one of which it is known; -1: none is.
  std::vector<float> hidden = {};
  int64_t hidden_at = -1;
};

}  // namespace mlc::serve
