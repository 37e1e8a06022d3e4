// What an engine is started with, made complete by what its library says.
#pragma once

#include <cstdint>
#include <optional>

#include "runtime/module.h"
#include "runtime/sequences/page_pool.h"

namespace mlc::runtime {

// 0 = from the library's manifest (which took it from mlc-chat-config.json).
struct ModelLimits {
  int64_t max_sequences = 1;
  int64_t context_tokens = 0;  // of one sequence; not used with a sliding window
  int64_t total_tokens =
      0;  // of all sequences together; 0 = one sequence's context, or its window and one chunk
  int64_t prefill_chunk = 0;              // rows of one step
  int64_t max_wanted = 0;                 // of them, whose logits it gives; 0 = one a sequence
  bool hidden_states = false;             // steps may want these rows' last hidden states beside their logits
  std::optional<uint64_t> shuffle_pages;  // tests: hand out KV pages in random order
  // One body of each function for any number of rows: then a sequence's bits depend neither on the others in
  // its steps nor on how its prompt is cut into chunks. Slower, most of all in decode.
  bool deterministic = false;
};

// The library's window, which drops tokens.
SlidingWindow window_of(const Json& manifest);

// With every 0 replaced; context_tokens is INT64_MAX where texts have no end. Errors: more than the library
// was compiled for (names the flag and both numbers).
Result<ModelLimits> complete(const ModelLimits& wanted, const Module& module);

}  // namespace mlc::runtime
