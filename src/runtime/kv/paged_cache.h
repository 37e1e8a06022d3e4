// Which page of the KV pool holds which tokens of which sequence: block tables, fork, popn, sliding window
// with sinks. Pages are opaque here; contents live in the device buffer of the state, copies are made by the
// library's kernels.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"

namespace mlc::runtime {

using SequenceId = int64_t;

// A page whose contents must be copied before the child of a fork writes to it.
struct PageCopy {
  int32_t source = 0, target = 0;
};

class PagedCache {
 public:
  // `shuffle_seed`: hand out pages in a random order (tests), else lowest first.
  PagedCache(int64_t pages, int64_t page_size, std::optional<uint64_t> shuffle_seed = std::nullopt);

  int64_t page_size() const { return page_size_; }
  int64_t total_pages() const { return static_cast<int64_t>(references_.size()); }
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }

  // Errors name the sequence: exists already / unknown / out of pages ("kv cache: ...").
  Status add_sequence(SequenceId id);
  Status remove_sequence(SequenceId id);
  // The child starts with the parent's first `position` tokens: whole pages are shared, a part of a page is
  // copied.
  Result<std::vector<PageCopy>> fork_sequence(SequenceId parent, SequenceId child, int64_t position);
  // Forgets the last n tokens; of a sequence that has slid only those appended since. A shared last page is
  // replaced before it is written again, see append().
  Status popn(SequenceId id, int64_t n);
  // Keeps the first `sinks` tokens and the last `window - sinks`: slide() drops those between, whole pages
  // are freed.
  Status enable_sliding_window(SequenceId id, int64_t window, int64_t sinks);
  // The same for every sequence added from now on.
  Status enable_sliding_windows(int64_t window, int64_t sinks);

  // Makes room for n more tokens. A last page shared with another sequence is replaced by a copy, listed in
  // the result. On an error (not enough pages) nothing has changed.
  Result<std::vector<PageCopy>> append(SequenceId id, int64_t n);
  // Drops what left the window; call after the step that used the tokens. No effect without a window.
  void slide(SequenceId id);

  bool contains(SequenceId id) const { return sequences_.count(id) != 0; }
  int64_t length(SequenceId id) const;  // tokens it can attend to
  int64_t room(SequenceId id) const;    // tokens that fit in the pages it has
  // Storage index of the sequence's i-th token is i, or i + skip_count from skip_begin on (dropped tokens of
  // a window).
  int64_t skip_begin(SequenceId id) const;
  int64_t skip_count(SequenceId id) const;
  std::span<const int32_t> pages(SequenceId id) const;
  // page id * page_size + offset of the i-th token.
  int32_t slot(SequenceId id, int64_t i) const;

 private:
  struct Sequence {
    std::vector<int32_t> pages;
    int64_t length = 0;
    int64_t window = 0, sinks = 0;  // window 0: none
    int64_t skip = 0;               // dropped tokens still inside kept pages
    bool slid = false;              // tokens were dropped; length >= window from then on
  };

  int32_t take_page();
  void drop_page(int32_t page);
  Sequence* find(SequenceId id);
  const Sequence& at(SequenceId id) const;

  int64_t page_size_;
  std::vector<int32_t> free_;        // taken from the back
  std::vector<int32_t> references_;  // sequences that hold each page
  std::map<SequenceId, Sequence> sequences_;
  int64_t window_ = 0, sinks_ = 0;  // of new sequences
};

}  // namespace mlc::runtime
