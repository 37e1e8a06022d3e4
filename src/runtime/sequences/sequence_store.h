// What a model remembers of each text: the one place that knows how states are kept. Serving knows sequences,
// lengths and costs; which pages and slots hold them only the step's inputs ask.
//
// Paged states keep something of every token, in pages from one pool for each *group*: the states that keep
// the same tokens share block tables. Slot states keep a fixed number of bytes a sequence, in a slot that is
// the same in all of them; slot 0 is the empty text's. A library has either or both.
//
// A sequence changes only between steps: reserve() makes room for a step's tokens, commit() makes them or the
// first of them part of their texts; a sequence whose step failed can only be removed. Contents move by the
// copies that are collected here and made before the next step (page_copies(), slot_copies()).
//
// A length to which a sequence can be rewound, or at which it can be forked, is one at which all states still
// hold what a next token sees: any for plain paged states; with a window those near the end; of slots the
// present one; and 0. A snapshot adds one. Errors start with "state:" and say which sequence; then nothing
// has changed. Tokens are counted from the text's beginning, whether or not a window still holds them.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "formats/plan.h"
#include "runtime/dims.h"
#include "runtime/sequences/page_pool.h"

namespace mlc::runtime {

using SequenceId = int64_t;

// New tokens of one sequence in a step.
struct StepSequence {
  SequenceId id = 0;
  std::span<const int32_t> tokens;
  int64_t wanted = 1;  // of how many of them, the last ones, the logits are wanted
  // Proposals, of which those that are accepted become part of the text by commit(id, tokens) alone. They may
  // be a tree of at most kMostTreeTokens: `parents` has for each the index of the token that it follows,
  // which is less than its own, or -1 for the sequence's last; empty: each follows the one before it.
  bool proposed = false;
  std::span<const int32_t> parents = {};
  int32_t adapter = -1;  // slot of the LoRA adapter that computes them (runtime/adapters.h); -1: none
};

// Memory of states, in what the store gives out.
struct StateCost {
  std::array<int64_t, kMostGroups> pages{};  // of each group
  int64_t slots = 0;

  StateCost& operator+=(const StateCost& other);
  StateCost& operator-=(const StateCost& other);
  bool fits_in(const StateCost& available) const;
};

struct StoreLimits {
  std::vector<PagePoolLimits> groups;
  int64_t slots = 0;  // slot 0 included; 0: no slot states
};

class SequenceStore {
 public:
  explicit SequenceStore(const StoreLimits& limits);

  bool contains(SequenceId id) const { return sequences_.contains(id); }
  int64_t length(SequenceId id) const;  // tokens of its text, those of a running step not yet
  // An empty sequence. Errors: exists already; no free slot.
  Status add(SequenceId id);
  Status remove(SequenceId id);
  // Adds a sequence that begins with the first `at` tokens of another. Errors: not one of the lengths above;
  // no page or slot is free.
  Status fork(SequenceId parent, SequenceId child, int64_t at);
  // Forgets all but the first n tokens. Error: not one of the lengths above.
  Status rewind(SequenceId id, int64_t n);
  // The largest length of at most n to which rewind() can go.
  int64_t rewind_point(SequenceId id, int64_t n) const;
  // Keeps what rewind() and fork() need to come back to the present length, as far as memory is free: it is
  // forgotten when the sequence is rewound to before it, and by forget_snapshot().
  void snapshot(SequenceId id);
  // Gives back what the oldest snapshot keeps; false when there is none. For whoever needs the memory.
  bool forget_snapshot();
  // Gives back what the snapshot of a sequence at a length keeps, if there is one.
  void forget_snapshot(SequenceId id, int64_t length);

  // What n more tokens of a sequence take; of one that is not there yet, what it takes by itself too.
  StateCost cost(SequenceId id, int64_t n) const;
  // What a text of that many tokens keeps between steps, by itself.
  StateCost text_cost(int64_t tokens) const;
  StateCost available() const;
  StateCost used() const;
  // Of n more tokens of a sequence, how many fit beside what is already spoken for.
  int64_t tokens_that_fit(SequenceId id, int64_t n, const StateCost& spoken_for = {}) const;

  // Room for all new tokens of a step. Error: more pages are needed than are free.
  Status reserve(std::span<const StepSequence> sequences);
  // Whether commit() can leave proposed tokens out: a slot has met all of them.
  bool drops_proposals() const { return !has_slots_; }
  // After the step, whose tokens become part of the text; of proposed ones the first n. Pages that left every
  // window are freed.
  void commit(SequenceId id);
  void commit(SequenceId id, int64_t n);

  // For the step's inputs.
  size_t groups() const { return pools_.size(); }
  const PagePool& pool(size_t group) const { return pools_[group]; }
  const BlockTable& table(size_t group, SequenceId id) const { return at(id).tables[group]; }
  int32_t slot(SequenceId id) const { return at(id).slot; }
  // Tokens that the last new one can attend to: the step's included, those that a sliding window dropped not.
  int64_t attended(SequenceId id) const;

  // Copies to make before the next step, in this order; whoever makes them clears the list.
  std::vector<StateCopy>& page_copies(size_t group) { return page_copies_[group]; }
  std::vector<StateCopy>& slot_copies() { return slot_copies_; }

 private:
  struct Sequence {
    std::array<BlockTable, kMostGroups> tables;
    int64_t length = 0, reserved = 0;
    int32_t slot = 0;
    // Lengths, and where there are slots the slot of each.
    std::vector<int64_t> snapshots;
    std::vector<int32_t> snapshot_slots;
  };

  Sequence* find(SequenceId id);
  const Sequence& at(SequenceId id) const;
  Status check(SequenceId id) const;
  int64_t rewind_point(const Sequence& s, int64_t n) const;
  Status check_length(SequenceId id, int64_t n, const char* what) const;
  int64_t in_table(const Sequence& s, size_t group, int64_t n) const;
  int32_t slot_at(const Sequence& s, int64_t n) const;
  StateCost cost(const Sequence& s, int64_t n) const;
  int32_t take_slot();
  void drop_snapshot(SequenceId id, size_t index);
  void release(SequenceId id, Sequence& s);
  bool keeps_snapshots() const;
  Status lacks(const StateCost& needed) const;

  std::vector<PagePool> pools_;
  std::map<SequenceId, Sequence> sequences_;
  bool has_slots_ = false;
  int64_t total_slots_ = 0;
  std::vector<int32_t> free_slots_;                      // taken from the back
  std::list<std::pair<SequenceId, int64_t>> snapshots_;  // sequence and length, the oldest first
  std::array<std::vector<StateCopy>, kMostGroups> page_copies_;
  std::vector<StateCopy> slot_copies_;
};

// How many of the copies, from the first on, can be made at once: none touches what one of them writes.
size_t independent_copies(std::span<const StateCopy> copies);

}  // namespace mlc::runtime
