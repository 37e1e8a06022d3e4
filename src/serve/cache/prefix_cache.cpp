// Finds, forks and evicts sequences.
#include "serve/cache/prefix_cache.h"

#include <algorithm>

#include "base/check.h"

namespace mlc::serve {

PrefixCache::Match PrefixCache::begin(runtime::SequenceStore& store, runtime::SequenceId fresh,
                                      std::span<const int32_t> prompt, int32_t adapter) {
  Match best;
  trees_[adapter].visit_matches(prompt.first(prompt.size() - 1), [&](runtime::SequenceId id, int64_t shared) {
    if (shared <= best.tokens) return false;  // so do all that follow
    if (const int64_t n = store.rewind_point(id, shared); n > best.tokens) best = {id, n};
    return true;
  });
  if (best.tokens == 0) return best;
  const auto kept = std::ranges::find(kept_, best.sequence);
  const bool is_kept = kept != kept_.end();
  if (is_kept) kept_.splice(kept_.end(), kept_, kept);  // the last to go
  if (!is_kept || best.tokens < store.length(best.sequence)) do {
      if (store.fork(best.sequence, fresh, best.tokens).is_ok()) return {fresh, best.tokens};
    } while (kept_.size() > (is_kept ? 1 : 0) && evict_one(store));
  if (!is_kept) return {};
  Status cut = store.rewind(best.sequence, best.tokens);
  internal_check(cut.is_ok(), cut.message());
  kept_.erase(kept);
  forget(best.sequence);
  return best;
}

void PrefixCache::share(runtime::SequenceId sequence, std::span<const int32_t> tokens, int32_t adapter) {
  PrefixTree& tree = trees_[adapter];
  tree.erase(sequence);
  tree.insert(sequence, tokens);
}

void PrefixCache::forget(runtime::SequenceId sequence) {
  for (auto& [adapter, tree] : trees_) tree.erase(sequence);
}

void PrefixCache::keep(runtime::SequenceStore& store, runtime::SequenceId sequence,
                       std::span<const int32_t> tokens, int32_t adapter) {
  share(sequence, tokens, adapter);
  kept_.push_back(sequence);
  while (kept_.size() > most_) evict_one(store);
}

bool PrefixCache::make_room(runtime::SequenceStore& store) {
  return store.forget_snapshot() || evict_one(store);
}

bool PrefixCache::evict_one(runtime::SequenceStore& store) {
  if (kept_.empty()) return false;
  remove_kept(store, kept_.begin());
  return true;
}

void PrefixCache::remove_kept(runtime::SequenceStore& store, std::list<runtime::SequenceId>::iterator kept) {
  forget(*kept);
  Status removed = store.remove(*kept);
  internal_check(removed.is_ok(), removed.message());
  kept_.erase(kept);
}

void PrefixCache::forget_adapter(runtime::SequenceStore& store, int32_t adapter) {
  const PrefixTree& tree = trees_[adapter];
  for (auto kept = kept_.begin(); kept != kept_.end();)
    if (const auto at = kept++; tree.contains(*at)) remove_kept(store, at);
  trees_.erase(adapter);
}

void PrefixCache::clear(runtime::SequenceStore& store) {
  while (evict_one(store)) {
  }
}

}  // namespace mlc::serve
