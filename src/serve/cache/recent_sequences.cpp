// Sequences of finished requests.
#include "serve/cache/recent_sequences.h"

#include <algorithm>

namespace mlc::serve {

void RecentSequences::keep(runtime::SequenceStore& store, runtime::SequenceId sequence,
                           std::vector<int32_t> tokens) {
  kept_.push_back({sequence, std::move(tokens)});
  while (kept_.size() > most_) evict_one(store);
}

std::optional<RecentSequences::Match> RecentSequences::take(runtime::SequenceStore& store,
                                                            std::span<const int32_t> prompt) {
  auto best = kept_.end();
  int64_t best_length = 0;
  for (auto it = kept_.begin(); it != kept_.end(); ++it) {
    int64_t most =
        std::min<int64_t>(static_cast<int64_t>(it->tokens.size()), static_cast<int64_t>(prompt.size()) - 1);
    int64_t n = 0;
    while (n < most && it->tokens[static_cast<size_t>(n)] == prompt[static_cast<size_t>(n)]) ++n;
    n = store.rewind_point(it->sequence, n);
    if (n > best_length) best = it, best_length = n;
  }
  if (best == kept_.end()) return std::nullopt;
  Match match{best->sequence, best_length};
  Status cut = store.rewind(best->sequence, best_length);
  internal_check(cut.is_ok(), cut.message());
  kept_.erase(best);
  return match;
}

bool RecentSequences::make_room(runtime::SequenceStore& store) {
  return store.forget_snapshot() || evict_one(store);
}

bool RecentSequences::evict_one(runtime::SequenceStore& store) {
  if (kept_.empty()) return false;
  Status removed = store.remove(kept_.front().sequence);
  internal_check(removed.is_ok(), removed.message());
  kept_.pop_front();
  return true;
}

void RecentSequences::clear(runtime::SequenceStore& store) {
  while (evict_one(store)) {
  }
}

}  // namespace mlc::serve
