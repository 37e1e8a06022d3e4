// Keeps the KV pages of finished requests, so that a prompt that continues one of them (the next turn of a
// chat) computes only its new tokens. The oldest give their pages back when the cache is full.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <vector>

#include "runtime/kv/paged_cache.h"

namespace mlc::serve {

class RecentSequences {
 public:
  explicit RecentSequences(size_t most) : most_(most) {}

  // `tokens`: those whose K and V the sequence holds.
  void keep(runtime::PagedCache& cache, runtime::SequenceId sequence, std::vector<int32_t> tokens);

  struct Match {
    runtime::SequenceId sequence = -1;
    int64_t tokens = 0;
  };
  // Takes the kept sequence that shares the longest beginning with the prompt, cut down to it. The prompt's
  // last token is never matched: its logits are wanted. nullopt when no kept sequence shares anything.
  std::optional<Match> take(runtime::PagedCache& cache, std::span<const int32_t> prompt);
  // Gives back the pages of the oldest; false when there is none.
  bool evict_one(runtime::PagedCache& cache);
  void clear(runtime::PagedCache& cache);

 private:
  struct Kept {
    runtime::SequenceId sequence;
    std::vector<int32_t> tokens;
  };
  size_t most_;
  std::list<Kept> kept_;  // oldest first
};

}  // namespace mlc::serve
