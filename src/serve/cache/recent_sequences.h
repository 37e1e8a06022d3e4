// Keeps the sequences of finished requests, so that a prompt that continues one of them (the next turn of a
// chat) computes only its new tokens. The oldest give their memory back when others need it.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <vector>

#include "runtime/sequences/sequence_store.h"

namespace mlc::serve {

class RecentSequences {
 public:
  explicit RecentSequences(size_t most) : most_(most) {}

  // `tokens`: those that the sequence holds.
  void keep(runtime::SequenceStore& store, runtime::SequenceId sequence, std::vector<int32_t> tokens);

  struct Match {
    runtime::SequenceId sequence = -1;
    int64_t tokens = 0;
  };
  // Takes the kept sequence with the longest beginning that it shares with the prompt and can be rewound to.
  // The prompt's last token is never matched: its logits are wanted. nullopt when none shares anything.
  std::optional<Match> take(runtime::SequenceStore& store, std::span<const int32_t> prompt);
  // Gives memory back: of the oldest snapshot, else of the oldest kept sequence; false when there is none.
  bool make_room(runtime::SequenceStore& store);
  void clear(runtime::SequenceStore& store);

 private:
  bool evict_one(runtime::SequenceStore& store);

  struct Kept {
    runtime::SequenceId sequence;
    std::vector<int32_t> tokens;
  };
  size_t most_;
  std::list<Kept> kept_;  // oldest first
};

}  // namespace mlc::serve
