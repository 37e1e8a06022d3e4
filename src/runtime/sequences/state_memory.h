// How large the states of an engine are: pages and slots for its limits, and their bytes.
#pragma once

#include <string>
#include <vector>

#include "formats/plan.h"
#include "runtime/dims.h"
#include "runtime/limits.h"
#include "runtime/sequences/sequence_store.h"

namespace mlc::runtime {

struct StateMemory {
  StoreLimits store;
  std::vector<int64_t> bytes;        // of each state's buffer, in the plan's order
  std::vector<int64_t> layer_bytes;  // of one layer of it
  Dims dims;                         // pool_pages, pool_slots, and pages: the most entries of block tables
  int64_t longest_text = 0;          // tokens of one sequence that fit

  int64_t total_bytes() const;
  std::string text(const Plan& plan) const;  // "kv cache 94.4 MB (2048 tokens)", for people
};

// For complete limits. A group without a window has pages for total_tokens; one with a window W for the W
// tokens that each sequence sees and a step's new ones, whatever their texts' lengths. Slots: two a sequence,
// itself and a snapshot, and slot 0. Errors: states this mlc_llm does not know how to keep; a context that
// places of tokens cannot number.
Result<StateMemory> plan_states(const Plan& plan, const ModelLimits& limits, const SlidingWindow& sliding,
                                const std::string& what);

}  // namespace mlc::runtime
