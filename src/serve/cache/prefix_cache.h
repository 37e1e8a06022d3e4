// Which sequences a new prompt can begin with: those of running requests, as far as they are computed, and
// those of finished ones, which are kept until others need their memory, the longest unused first.
//
// The next turn of a chat takes its last one's sequence over; prompts that share a beginning with another
// text fork its sequence, so that pages are shared. Texts that different LoRA adapters computed (-1: none)
// share nothing.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <span>
#include <vector>

#include "runtime/sequences/sequence_store.h"
#include "serve/cache/prefix_tree.h"

namespace mlc::serve {

class PrefixCache {
 public:
  // Keeps the sequences of at most `most` finished requests.
  explicit PrefixCache(size_t most) : most_(most) {}

  struct Match {
    runtime::SequenceId sequence = -1;
    int64_t tokens = 0;  // that it holds
  };
  // A sequence that holds the longest beginning of the prompt that any holds and can be gone back to; it is
  // `fresh`, or that of a finished request, which then is no longer kept. The prompt's last token is never
  // part of it: its logits are wanted. tokens 0: nothing is shared, and no sequence was added.
  Match begin(runtime::SequenceStore& store, runtime::SequenceId fresh, std::span<const int32_t> prompt,
              int32_t adapter = -1);

  // `tokens`: those that a running request's sequence holds. Others may fork it from now on.
  void share(runtime::SequenceId sequence, std::span<const int32_t> tokens, int32_t adapter = -1);
  // Of a running request whose sequence is about to be removed.
  void forget(runtime::SequenceId sequence);
  // Of a request that has finished.
  void keep(runtime::SequenceStore& store, runtime::SequenceId sequence, std::span<const int32_t> tokens,
            int32_t adapter = -1);
  // All that is kept of an adapter, which no running request has.
  void forget_adapter(runtime::SequenceStore& store, int32_t adapter);

  // Gives memory back: of the oldest snapshot, else of the kept sequence that was not used for longest; false
  // when there is none.
  bool make_room(runtime::SequenceStore& store);
  void clear(runtime::SequenceStore& store);

 private:
  bool evict_one(runtime::SequenceStore& store);
  void remove_kept(runtime::SequenceStore& store, std::list<runtime::SequenceId>::iterator kept);

  size_t most_;
  std::map<int32_t, PrefixTree> trees_;  // of running and of kept ones, by adapter
  std::list<runtime::SequenceId> kept_;  // the longest unused first
};

}  // namespace mlc::serve
