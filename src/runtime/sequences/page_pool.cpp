// Block tables of paged states.
#include "runtime/sequences/page_pool.h"

#include <algorithm>
#include <random>

namespace mlc::runtime {
namespace {

// Room that a sequence's block table begins with: 8,192 tokens in pages of 16, in 2 KiB.
constexpr int64_t kReservedPages = 512;

}  // namespace

PagePool::PagePool(const PagePoolLimits& limits) : limits_(limits) {
  internal_check(limits.pages >= 0 && limits.page_size > 0 && limits.pages * limits.page_size < INT32_MAX,
                 "page pool: places of tokens must fit 31 bits");
  internal_check(limits.window >= 0 && (limits.window == 0 || limits.sliding.tokens == 0),
                 "page pool: a window of layers beside one that drops tokens");
  references_.assign(static_cast<size_t>(limits.pages), 0);
  for (int64_t p = limits.pages; p-- > 0;) free_.push_back(static_cast<int32_t>(p));
  if (limits.shuffle_seed) {
    std::mt19937_64 random(*limits.shuffle_seed);
    for (size_t i = free_.size(); i > 1; --i) std::swap(free_[i - 1], free_[random() % i]);
  }
}

int32_t PagePool::take_page() {
  int32_t page = free_.back();
  free_.pop_back();
  references_[static_cast<size_t>(page)] = 1;
  return page;
}

void PagePool::drop_page(int32_t page) {
  if (page == kFreedPage) return;
  if (--references_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

int64_t PagePool::pages_of(int64_t tokens) const {
  return (tokens + limits_.page_size - 1) / limits_.page_size;
}

// The page of the first token that a row sees which follows after `length` tokens.
int64_t PagePool::first_page_seen(int64_t length) const {
  if (limits_.window == 0) return 0;
  return std::max<int64_t>(0, length + 1 - limits_.window) / limits_.page_size;
}

BlockTable PagePool::make() const {
  BlockTable table;
  // With a window a table has more entries than pages.
  table.pages.reserve(
      static_cast<size_t>(limits_.window > 0 ? kReservedPages : std::min(total_pages(), kReservedPages)));
  return table;
}

void PagePool::release(BlockTable& table) {
  for (int32_t page : table.pages) drop_page(page);
  table.pages.clear();
  table.length = table.skip = table.swept = 0;
  table.slid = false;
}

int64_t PagePool::cost(const BlockTable& table, int64_t n) const {
  if (n == 0) return 0;
  const int64_t stored = table.length + table.skip;
  const bool shared =
      stored % limits_.page_size != 0 && references_[static_cast<size_t>(table.pages.back())] > 1;
  return pages_of(stored + n) - static_cast<int64_t>(table.pages.size()) + (shared ? 1 : 0);
}

int64_t PagePool::text_cost(int64_t tokens) const {
  if (limits_.sliding.tokens > 0)  // the kept tokens may begin and end within a page
    return pages_of(std::min(tokens, limits_.sliding.tokens + limits_.page_size));
  return pages_of(tokens) - first_page_seen(tokens);
}

int64_t PagePool::tokens_that_fit(const BlockTable& table, int64_t n, int64_t pages) const {
  const int64_t room =
      static_cast<int64_t>(table.pages.size()) * limits_.page_size - table.length - table.skip;
  if (room > 0) pages -= cost(table, 1);  // of a last page that others share
  return pages < 0 ? 0 : std::min(n, room + pages * limits_.page_size);
}

void PagePool::append(BlockTable& table, int64_t n, std::vector<StateCopy>& copies) {
  if (n == 0) return;
  internal_check(cost(table, n) <= free_pages(), "page pool: append without free pages");
  const int64_t stored = table.length + table.skip;
  if (stored % limits_.page_size != 0 && references_[static_cast<size_t>(table.pages.back())] > 1) {
    copies.push_back({table.pages.back(), take_page()});
    drop_page(table.pages.back());
    table.pages.back() = copies.back().target;
  }
  const auto needed = static_cast<size_t>(pages_of(stored + n));
  while (table.pages.size() < needed) table.pages.push_back(take_page());
  table.length += n;
}

void PagePool::trim(BlockTable& table, std::span<const int64_t> snapshots) {
  if (limits_.sliding.tokens > 0) return slide(table);
  const int64_t first = first_page_seen(table.length);
  for (int64_t i = table.swept; i < first; ++i) {
    auto needs = [&](int64_t length) { return first_page_seen(length) <= i && i < pages_of(length); };
    if (std::ranges::any_of(snapshots, needs)) continue;
    drop_page(table.pages[static_cast<size_t>(i)]);
    table.pages[static_cast<size_t>(i)] = kFreedPage;
  }
  table.swept = first;
}

void PagePool::slide(BlockTable& table) {
  const auto [window, sinks] = limits_.sliding;
  if (table.length <= window) return;
  table.skip += table.length - window;
  table.length = window;
  table.slid = true;
  // Pages that hold only dropped tokens: those from the end of the sinks' page up to the first kept one.
  const int64_t first = pages_of(sinks);
  while (sinks + table.skip >= (first + 1) * limits_.page_size) {
    drop_page(table.pages[static_cast<size_t>(first)]);
    table.pages.erase(table.pages.begin() + first);
    table.skip -= limits_.page_size;
  }
}

int64_t PagePool::rewind_point(const BlockTable& table, int64_t n) const {
  n = std::min(n, table.length);
  if (n < 0) return -1;
  if (table.slid) return n >= limits_.sliding.tokens ? n : -1;
  while (n > 0) {
    const auto seen = table.pages.begin() + first_page_seen(n), end = table.pages.begin() + pages_of(n);
    const auto missing =
        std::find(std::make_reverse_iterator(end), std::make_reverse_iterator(seen), kFreedPage);
    if (missing == std::make_reverse_iterator(seen)) return n;
    // A length that ends in that page or, up to n, behind it lacks it too.
    n = (missing.base() - 1 - table.pages.begin()) * limits_.page_size;
  }
  return n;
}

void PagePool::rewind(BlockTable& table, int64_t n) {
  if (n == 0) return release(table);
  table.length = n;
  const auto kept = static_cast<size_t>(pages_of(n + table.skip));
  while (table.pages.size() > kept) {
    drop_page(table.pages.back());
    table.pages.pop_back();
  }
  table.swept = std::min(table.swept, first_page_seen(n));
}

int64_t PagePool::fork_cost(const BlockTable& table, int64_t at) const {
  return at > 0 && (at + table.skip) % limits_.page_size != 0 ? 1 : 0;
}

BlockTable PagePool::fork(const BlockTable& table, int64_t at, std::vector<StateCopy>& copies) {
  internal_check(fork_cost(table, at) <= free_pages(), "page pool: fork without free pages");
  BlockTable child = make();
  if (at == 0) return child;
  child.length = at;
  child.skip = table.skip;
  child.slid = table.slid;
  child.swept = first_page_seen(at);
  const int64_t whole = (at + table.skip) / limits_.page_size;
  for (int64_t i = 0; i < whole; ++i) {
    const int32_t page = i < child.swept ? kFreedPage : table.pages[static_cast<size_t>(i)];
    if (page != kFreedPage) references_[static_cast<size_t>(page)]++;
    child.pages.push_back(page);
  }
  if (fork_cost(table, at) > 0) {
    copies.push_back({table.pages[static_cast<size_t>(whole)], take_page()});
    child.pages.push_back(copies.back().target);
  }
  return child;
}

int32_t PagePool::slot(const BlockTable& table, int64_t i) const {
  const int64_t stored = limits_.sliding.tokens > 0 && i >= limits_.sliding.sinks ? i + table.skip : i;
  return static_cast<int32_t>(table.pages[static_cast<size_t>(stored / limits_.page_size)] *
                                  limits_.page_size +
                              stored % limits_.page_size);
}

}  // namespace mlc::runtime
