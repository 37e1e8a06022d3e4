// Sequences over pools of pages and slots.
#include "runtime/sequences/sequence_store.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc::runtime {

StateCost& StateCost::operator+=(const StateCost& other) {
  for (size_t g = 0; g < kMostGroups; ++g) pages[g] += other.pages[g];
  slots += other.slots;
  return *this;
}

StateCost& StateCost::operator-=(const StateCost& other) {
  for (size_t g = 0; g < kMostGroups; ++g) pages[g] -= other.pages[g];
  slots -= other.slots;
  return *this;
}

bool StateCost::fits_in(const StateCost& available) const {
  for (size_t g = 0; g < kMostGroups; ++g)
    if (pages[g] > available.pages[g]) return false;
  return slots <= available.slots;
}

SequenceStore::SequenceStore(const StoreLimits& limits)
    : has_slots_(limits.slots > 0), total_slots_(std::max<int64_t>(limits.slots - 1, 0)) {
  internal_check(limits.groups.size() <= kMostGroups, "sequence store: too many groups of paged states");
  for (const PagePoolLimits& group : limits.groups) pools_.emplace_back(group);
  for (int64_t slot = limits.slots; --slot > 0;) free_slots_.push_back(static_cast<int32_t>(slot));
}

SequenceStore::Sequence* SequenceStore::find(SequenceId id) {
  auto it = sequences_.find(id);
  return it == sequences_.end() ? nullptr : &it->second;
}

const SequenceStore::Sequence& SequenceStore::at(SequenceId id) const {
  auto it = sequences_.find(id);
  internal_check(it != sequences_.end(), "sequence store: unknown sequence");
  return it->second;
}

// That the sequence is there and in no step.
Status SequenceStore::check(SequenceId id) const {
  auto it = sequences_.find(id);
  if (it == sequences_.end()) return Status::error(str("state: there is no sequence ", id));
  if (it->second.reserved > 0)
    return Status::error(str("state: sequence ", id, " is in a step that has not ended; remove it"));
  return Status::ok();
}

int64_t SequenceStore::length(SequenceId id) const { return at(id).length; }

int64_t SequenceStore::attended(SequenceId id) const {
  const Sequence& s = at(id);
  return pools_.empty() ? s.length + s.reserved : s.tables[0].length;
}

int32_t SequenceStore::take_slot() {
  const int32_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

// What is needed and not there, as a sentence.
Status SequenceStore::lacks(const StateCost& needed) const {
  for (size_t g = 0; g < pools_.size(); ++g) {
    const PagePool& pool = pools_[g];
    if (needed.pages[g] <= pool.free_pages()) continue;
    const int64_t window = pool.limits().window;
    return Status::error(str("state: ", needed.pages[g], " pages of ", pool.limits().page_size, " tokens",
                             window > 0 ? str(" (of layers with a window of ", window, ")") : "",
                             " are needed, ", pool.free_pages(), " of ", pool.total_pages(), " are free"));
  }
  return Status::error(str("state: ", needed.slots, " slots are needed, ", free_slots_.size(), " of ",
                           total_slots_, " are free"));
}

Status SequenceStore::add(SequenceId id) {
  if (contains(id)) return Status::error(str("state: sequence ", id, " exists already"));
  if (has_slots_ && free_slots_.empty()) return lacks({.slots = 1});
  Sequence& s = sequences_[id];
  for (size_t g = 0; g < pools_.size(); ++g) s.tables[g] = pools_[g].make();
  if (has_slots_) s.slot = take_slot(), slot_copies_.push_back({0, s.slot});
  return Status::ok();
}

void SequenceStore::drop_snapshot(SequenceId id, size_t index) {
  Sequence& s = *find(id);
  std::erase(snapshots_, std::pair{id, s.snapshots[index]});
  s.snapshots.erase(s.snapshots.begin() + static_cast<std::ptrdiff_t>(index));
  for (size_t g = 0; g < pools_.size(); ++g) s.tables[g].swept = 0;
  if (!has_slots_) return;
  free_slots_.push_back(s.snapshot_slots[index]);
  s.snapshot_slots.erase(s.snapshot_slots.begin() + static_cast<std::ptrdiff_t>(index));
}

Status SequenceStore::remove(SequenceId id) {
  Sequence* s = find(id);
  if (!s) return Status::error(str("state: there is no sequence ", id));
  while (!s->snapshots.empty()) drop_snapshot(id, s->snapshots.size() - 1);
  for (size_t g = 0; g < pools_.size(); ++g) pools_[g].release(s->tables[g]);
  if (has_slots_) free_slots_.push_back(s->slot);
  sequences_.erase(id);
  return Status::ok();
}

// What a table calls the first n tokens of the text, when a sliding window has dropped some of them.
int64_t SequenceStore::in_table(const Sequence& s, size_t group, int64_t n) const {
  return n - (s.length + s.reserved - s.tables[group].length);
}

int64_t SequenceStore::rewind_point(const Sequence& s, int64_t n) const {
  n = std::min(n, s.length);
  for (bool again = true; again && n > 0;) {
    again = false;
    if (has_slots_ && n < s.length) {
      auto after = std::ranges::upper_bound(s.snapshots, n);
      n = after == s.snapshots.begin() ? 0 : *(after - 1);
    }
    for (size_t g = 0; g < pools_.size() && n > 0; ++g) {
      const int64_t wanted = in_table(s, g, n), found = pools_[g].rewind_point(s.tables[g], wanted);
      if (found < 0)
        n = 0;
      else if (found < wanted)
        n -= wanted - found, again = true;
    }
  }
  return n;
}

int64_t SequenceStore::rewind_point(SequenceId id, int64_t n) const { return rewind_point(at(id), n); }

Status SequenceStore::check_length(SequenceId id, int64_t n, const char* what) const {
  RETURN_IF_ERROR(check(id));
  const Sequence& s = at(id);
  if (n < 0 || n > s.length)
    return Status::error(str("state: ", what, " sequence ", id, " at ", n, ", it has ", s.length, " tokens"));
  if (const int64_t point = rewind_point(s, n); n > 0 && point < n)
    return Status::error(str("state: ", what, " sequence ", id, " at ", n, " of its ", s.length,
                             " tokens, what came before is not kept; the last place before that is ", point));
  return Status::ok();
}

// The slot that holds what was known after n tokens: a length that rewind_point() allows.
int32_t SequenceStore::slot_at(const Sequence& s, int64_t n) const {
  if (n == 0) return 0;
  if (n == s.length) return s.slot;
  return s.snapshot_slots[static_cast<size_t>(std::ranges::find(s.snapshots, n) - s.snapshots.begin())];
}

Status SequenceStore::fork(SequenceId parent, SequenceId child, int64_t at) {
  RETURN_IF_ERROR(check_length(parent, at, "fork of"));
  if (contains(child)) return Status::error(str("state: sequence ", child, " exists already"));
  const Sequence& p = *find(parent);
  StateCost needed{.slots = has_slots_ ? 1 : 0};
  for (size_t g = 0; g < pools_.size(); ++g)
    needed.pages[g] = at == 0 ? 0 : pools_[g].fork_cost(p.tables[g], in_table(p, g, at));
  if (!needed.fits_in(available())) return lacks(needed);
  Sequence& c = sequences_[child];
  for (size_t g = 0; g < pools_.size(); ++g)
    c.tables[g] = pools_[g].fork(p.tables[g], at == 0 ? 0 : in_table(p, g, at), page_copies_[g]);
  c.length = at;
  if (has_slots_) c.slot = take_slot(), slot_copies_.push_back({slot_at(p, at), c.slot});
  return Status::ok();
}

Status SequenceStore::rewind(SequenceId id, int64_t n) {
  RETURN_IF_ERROR(check_length(id, n, "rewind of"));
  Sequence& s = *find(id);
  if (n == s.length) return Status::ok();
  if (has_slots_) slot_copies_.push_back({slot_at(s, n), s.slot});
  while (!s.snapshots.empty() && s.snapshots.back() > n) drop_snapshot(id, s.snapshots.size() - 1);
  for (size_t g = 0; g < pools_.size(); ++g) pools_[g].rewind(s.tables[g], n == 0 ? 0 : in_table(s, g, n));
  s.length = n;
  return Status::ok();
}

bool SequenceStore::keeps_snapshots() const {
  return has_slots_ || std::ranges::any_of(pools_, [](const PagePool& p) { return p.limits().window > 0; });
}

void SequenceStore::snapshot(SequenceId id) {
  internal_check(check(id).is_ok(), "snapshot: an unknown sequence, or a step runs");
  Sequence& s = *find(id);
  const bool known = !s.snapshots.empty() && s.snapshots.back() == s.length;
  if (!keeps_snapshots() || s.length == 0 || known) return;
  if (has_slots_) {
    while (free_slots_.empty() && forget_snapshot()) {
    }
    if (free_slots_.empty()) return;
    s.snapshot_slots.push_back(take_slot());
    slot_copies_.push_back({s.slot, s.snapshot_slots.back()});
  }
  s.snapshots.push_back(s.length);
  snapshots_.emplace_back(id, s.length);
}

bool SequenceStore::forget_snapshot() {
  if (snapshots_.empty()) return false;
  const auto [id, length] = snapshots_.front();
  forget_snapshot(id, length);
  return true;
}

void SequenceStore::forget_snapshot(SequenceId id, int64_t length) {
  internal_check(contains(id), "forget_snapshot: an unknown sequence");
  Sequence& s = *find(id);
  const auto found = std::ranges::find(s.snapshots, length);
  if (found == s.snapshots.end()) return;
  drop_snapshot(id, static_cast<size_t>(found - s.snapshots.begin()));
  if (s.reserved > 0) return;  // commit() frees its pages
  for (size_t g = 0; g < pools_.size(); ++g) pools_[g].trim(s.tables[g], s.snapshots);
}

StateCost SequenceStore::cost(const Sequence& s, int64_t n) const {
  StateCost cost;
  for (size_t g = 0; g < pools_.size(); ++g) cost.pages[g] = pools_[g].cost(s.tables[g], n);
  return cost;
}

StateCost SequenceStore::cost(SequenceId id, int64_t n) const {
  if (contains(id)) return cost(at(id), n);
  StateCost cost = this->cost(Sequence(), n);
  cost.slots = has_slots_ ? 1 : 0;
  return cost;
}

StateCost SequenceStore::text_cost(int64_t tokens) const {
  StateCost cost{.slots = has_slots_ ? 1 : 0};
  for (size_t g = 0; g < pools_.size(); ++g) cost.pages[g] = pools_[g].text_cost(tokens);
  return cost;
}

StateCost SequenceStore::available() const {
  StateCost available{.slots = static_cast<int64_t>(free_slots_.size())};
  for (size_t g = 0; g < pools_.size(); ++g) available.pages[g] = pools_[g].free_pages();
  return available;
}

StateCost SequenceStore::used() const {
  StateCost used{.slots = total_slots_ - static_cast<int64_t>(free_slots_.size())};
  for (size_t g = 0; g < pools_.size(); ++g) used.pages[g] = pools_[g].total_pages() - pools_[g].free_pages();
  return used;
}

int64_t SequenceStore::tokens_that_fit(SequenceId id, int64_t n, const StateCost& spoken_for) const {
  const Sequence& s = at(id);
  for (size_t g = 0; g < pools_.size(); ++g)
    n = pools_[g].tokens_that_fit(s.tables[g], n, pools_[g].free_pages() - spoken_for.pages[g]);
  return n;
}

Status SequenceStore::reserve(std::span<const StepSequence> sequences) {
  // A sequence for which there is no room takes back what those before it got.
  for (size_t i = 0; i < sequences.size(); ++i) {
    const auto n = static_cast<int64_t>(sequences[i].tokens.size());
    Status status = check(sequences[i].id);
    if (status.is_ok())
      if (const StateCost needed = cost(sequences[i].id, n); !needed.fits_in(available()))
        status = lacks(needed);
    if (!status.is_ok()) {
      for (const StepSequence& done : sequences.first(i)) {
        Sequence& s = *find(done.id);
        for (size_t g = 0; g < pools_.size(); ++g)
          pools_[g].rewind(s.tables[g], s.tables[g].length - s.reserved);
        s.reserved = 0;
      }
      return status;
    }
    Sequence& s = *find(sequences[i].id);
    for (size_t g = 0; g < pools_.size(); ++g) pools_[g].append(s.tables[g], n, page_copies_[g]);
    s.reserved = n;
  }
  return Status::ok();
}

void SequenceStore::commit(SequenceId id) { commit(id, find(id)->reserved); }

void SequenceStore::commit(SequenceId id, int64_t n) {
  Sequence& s = *find(id);
  internal_check(n == s.reserved || (n >= 0 && n < s.reserved && !has_slots_),
                 "commit: more tokens than the step had, or a slot that has met all of them");
  if (const int64_t dropped = s.reserved - n; dropped > 0)
    for (size_t g = 0; g < pools_.size(); ++g) pools_[g].rewind(s.tables[g], s.tables[g].length - dropped);
  s.length += n;
  s.reserved = 0;
  for (size_t g = 0; g < pools_.size(); ++g) pools_[g].trim(s.tables[g], s.snapshots);
}

size_t independent_copies(std::span<const StateCopy> copies) {
  for (size_t n = 1; n < copies.size(); ++n)
    for (const StateCopy& earlier : copies.first(n))
      if (copies[n].target == earlier.source || copies[n].target == earlier.target ||
          copies[n].source == earlier.target)
        return n;
  return copies.size();
}

}  // namespace mlc::runtime
