// Which page of a pool holds which tokens of a sequence: the block tables of paged states that keep the same
// tokens. Pages are opaque here; contents live in the device buffers of the states, copies are made by the
// library's kernels. What SequenceStore is made of; nothing else changes one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"

namespace mlc::runtime {

// Of a library: a sequence keeps its first `sinks` tokens and the last `tokens - sinks`
// (frontend/functions.h), texts have no end. tokens 0 = no window.
struct SlidingWindow {
  int64_t tokens = 0, sinks = 0;
};

// A page or slot whose contents must be copied before the next step.
struct StateCopy {
  int32_t source = 0, target = 0;
};

inline constexpr int32_t kFreedPage = -1;

// Pages of one sequence.
struct BlockTable {
  std::vector<int32_t> pages;  // of the tokens stored from 0, page_size, .. on; kFreedPage: no row sees them
  int64_t length = 0;          // tokens, without those that a sliding window dropped
  int64_t skip = 0;            // dropped tokens still inside kept pages
  int64_t swept = 0;           // pages before this one were freed unless a snapshot needs them
  bool slid = false;           // tokens were dropped; length >= sliding window's from then on
};

struct PagePoolLimits {
  int64_t pages = 0, page_size = 0;
  int64_t window = 0;                    // a row sees the last `window` tokens up to itself; 0: all
  SlidingWindow sliding;                 // not beside `window`
  std::optional<uint64_t> shuffle_seed;  // hand out pages in a random order (tests), else lowest first
};

class PagePool {
 public:
  explicit PagePool(const PagePoolLimits& limits);

  const PagePoolLimits& limits() const { return limits_; }
  int64_t total_pages() const { return static_cast<int64_t>(references_.size()); }
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }

  BlockTable make() const;
  void release(BlockTable& table);

  // Pages that n more tokens take: new ones, and one where the last page is in part used and shared.
  int64_t cost(const BlockTable& table, int64_t n) const;
  // Pages that a text of that many tokens holds between steps, where no snapshot needs more.
  int64_t text_cost(int64_t tokens) const;
  // Of n tokens, how many fit into `pages` new pages.
  int64_t tokens_that_fit(const BlockTable& table, int64_t n, int64_t pages) const;
  // Makes room for n more tokens. Precondition: cost() pages are free.
  void append(BlockTable& table, int64_t n, std::vector<StateCopy>& copies);
  // After a step: drops what left a window, whole pages are freed. A row that follows after any of the
  // lengths `snapshots` still finds all it sees.
  void trim(BlockTable& table, std::span<const int64_t> snapshots);

  // The largest length of at most n, itself at most the table's, for which all that a next row sees is there;
  // -1: none.
  int64_t rewind_point(const BlockTable& table, int64_t n) const;
  // Forgets what follows the first n tokens. Precondition: rewind_point(n) is n, or n is 0.
  void rewind(BlockTable& table, int64_t n);

  int64_t fork_cost(const BlockTable& table, int64_t at) const;
  // A table of the first `at` tokens: whole pages are shared, a part of a page is copied. Preconditions: as
  // of rewind(), and fork_cost() pages are free.
  BlockTable fork(const BlockTable& table, int64_t at, std::vector<StateCopy>& copies);

  // page id * page_size + offset of the i-th token.
  int32_t slot(const BlockTable& table, int64_t i) const;

 private:
  int32_t take_page();
  void drop_page(int32_t page);
  int64_t pages_of(int64_t tokens) const;
  int64_t first_page_seen(int64_t length) const;
  void slide(BlockTable& table);

  PagePoolLimits limits_;
  std::vector<int32_t> free_;        // taken from the back
  std::vector<int32_t> references_;  // tables that hold each page
};

}  // namespace mlc::runtime
