// One counter for each length of a cycle.
#include "serve/cycle.h"

namespace mlc::serve {

bool CycleDetector::put(std::span<const int32_t> tokens) {
  bool found = false;
  for (size_t period = 1; period <= runs_.size() && period < tokens.size(); ++period) {
    int32_t& run = runs_[period - 1];
    run = tokens.back() == tokens[tokens.size() - 1 - period] ? run + 1 : 0;
    found |=
        run >= kTokens - static_cast<int64_t>(period);  // the first of the cycles has none before it to equal
  }
  return found;
}

}  // namespace mlc::serve
