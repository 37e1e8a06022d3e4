// Block tables of the paged KV cache.
#include "runtime/kv/paged_cache.h"

#include <algorithm>
#include <random>

#include "base/strings.h"

namespace mlc::runtime {
namespace {

// Room that a sequence's block table begins with: 8,192 tokens in pages of 16, in 2 KiB.
constexpr int64_t kReservedPages = 512;

Status check_window(int64_t window, int64_t sinks) {
  if (sinks >= 0 && sinks < window) return Status::ok();
  return Status::error(
      str("kv cache: window ", window, " with ", sinks, " sinks; expected 0 <= sinks < window"));
}

}  // namespace

PagedCache::PagedCache(int64_t pages, int64_t page_size, std::optional<uint64_t> shuffle_seed)
    : page_size_(page_size) {
  internal_check(pages >= 0 && pages * page_size < INT32_MAX && page_size > 0,
                 "kv cache: slots must fit 31 bits");
  references_.assign(static_cast<size_t>(pages), 0);
  for (int64_t p = pages; p-- > 0;) free_.push_back(static_cast<int32_t>(p));
  if (shuffle_seed) {
    std::mt19937_64 random(*shuffle_seed);
    for (size_t i = free_.size(); i > 1; --i) std::swap(free_[i - 1], free_[random() % i]);
  }
}

int32_t PagedCache::take_page() {
  int32_t page = free_.back();
  free_.pop_back();
  references_[static_cast<size_t>(page)] = 1;
  return page;
}

void PagedCache::drop_page(int32_t page) {
  if (--references_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

PagedCache::Sequence* PagedCache::find(SequenceId id) {
  auto it = sequences_.find(id);
  return it == sequences_.end() ? nullptr : &it->second;
}

const PagedCache::Sequence& PagedCache::at(SequenceId id) const {
  auto it = sequences_.find(id);
  internal_check(it != sequences_.end(), "kv cache: unknown sequence");
  return it->second;
}

Status PagedCache::add_sequence(SequenceId id) {
  auto [it, added] = sequences_.try_emplace(id);
  if (!added) return Status::error(str("kv cache: sequence ", id, " exists already"));
  it->second.pages.reserve(static_cast<size_t>(std::min(total_pages(), kReservedPages)));
  it->second.window = window_;
  it->second.sinks = sinks_;
  return Status::ok();
}

Status PagedCache::remove_sequence(SequenceId id) {
  Sequence* s = find(id);
  if (!s) return Status::error(str("kv cache: there is no sequence ", id));
  for (int32_t page : s->pages) drop_page(page);
  sequences_.erase(id);
  return Status::ok();
}

Result<std::vector<PageCopy>> PagedCache::fork_sequence(SequenceId parent, SequenceId child,
                                                        int64_t position) {
  Sequence* p = find(parent);
  if (!p) return Status::error(str("kv cache: there is no sequence ", parent, " to fork"));
  if (position < 0 || position > p->length)
    return Status::error(
        str("kv cache: fork of sequence ", parent, " at ", position, ", it has ", p->length, " tokens"));
  if (p->slid && position < p->length)
    return Status::error(str("kv cache: sequence ", parent, " has slid; it can be forked at its end only"));
  if (contains(child)) return Status::error(str("kv cache: sequence ", child, " exists already"));
  int64_t stored = position + p->skip;
  size_t whole = static_cast<size_t>(stored / page_size_),
         kept = static_cast<size_t>((stored + page_size_ - 1) / page_size_);
  if (kept > whole && free_.empty()) return Status::error("kv cache: no free page for the fork");
  Sequence c = *p;
  c.pages.reserve(p->pages.capacity());
  c.pages.assign(p->pages.begin(), p->pages.begin() + static_cast<std::ptrdiff_t>(whole));
  c.length = position;
  for (int32_t page : c.pages) references_[static_cast<size_t>(page)]++;
  std::vector<PageCopy> copies;
  if (kept > whole) {
    copies.push_back({p->pages[whole], take_page()});
    c.pages.push_back(copies.back().target);
  }
  sequences_.emplace(child, std::move(c));
  return copies;
}

Status PagedCache::popn(SequenceId id, int64_t n) {
  Sequence* s = find(id);
  if (!s) return Status::error(str("kv cache: there is no sequence ", id));
  if (n < 0 || n > s->length || (s->slid && n > s->length - s->window))
    return Status::error(str("kv cache: cannot take ", n, " tokens from sequence ", id, " of ", s->length,
                             s->slid ? ", whose window has dropped those before" : ""));
  s->length -= n;
  size_t kept = static_cast<size_t>((s->length + s->skip + page_size_ - 1) / page_size_);
  while (s->pages.size() > kept) {
    drop_page(s->pages.back());
    s->pages.pop_back();
  }
  return Status::ok();
}

Status PagedCache::enable_sliding_window(SequenceId id, int64_t window, int64_t sinks) {
  Sequence* s = find(id);
  if (!s) return Status::error(str("kv cache: there is no sequence ", id));
  RETURN_IF_ERROR(check_window(window, sinks));
  s->window = window;
  s->sinks = sinks;
  return Status::ok();
}

Status PagedCache::enable_sliding_windows(int64_t window, int64_t sinks) {
  RETURN_IF_ERROR(check_window(window, sinks));
  window_ = window;
  sinks_ = sinks;
  return Status::ok();
}

Result<std::vector<PageCopy>> PagedCache::append(SequenceId id, int64_t n) {
  Sequence* s = find(id);
  if (!s) return Status::error(str("kv cache: there is no sequence ", id));
  int64_t stored = s->length + s->skip;
  size_t needed = static_cast<size_t>((stored + n + page_size_ - 1) / page_size_);
  bool part_used = stored % page_size_ != 0;
  bool shared = n > 0 && part_used && references_[static_cast<size_t>(s->pages.back())] > 1;
  size_t wanted = (needed > s->pages.size() ? needed - s->pages.size() : 0) + (shared ? 1 : 0);
  if (wanted > free_.size())
    return Status::error(str("kv cache: ", wanted, " pages of ", page_size_, " tokens are needed, ",
                             free_.size(), " of ", total_pages(), " are free"));
  std::vector<PageCopy> copies;
  if (shared) {
    copies.push_back({s->pages.back(), take_page()});
    drop_page(s->pages.back());
    s->pages.back() = copies.back().target;
  }
  while (s->pages.size() < needed) s->pages.push_back(take_page());
  s->length += n;
  return copies;
}

void PagedCache::slide(SequenceId id) {
  Sequence* s = find(id);
  if (!s || s->window == 0 || s->length <= s->window) return;
  s->skip += s->length - s->window;
  s->length = s->window;
  s->slid = true;
  // Pages that hold only dropped tokens: those from the end of the sinks' page up to the first kept one.
  size_t first = static_cast<size_t>((s->sinks + page_size_ - 1) / page_size_);
  while (s->sinks + s->skip >= static_cast<int64_t>(first + 1) * page_size_) {
    drop_page(s->pages[first]);
    s->pages.erase(s->pages.begin() + static_cast<std::ptrdiff_t>(first));
    s->skip -= page_size_;
  }
}

int64_t PagedCache::length(SequenceId id) const { return at(id).length; }
int64_t PagedCache::room(SequenceId id) const {
  const Sequence& s = at(id);
  return static_cast<int64_t>(s.pages.size()) * page_size_ - s.length - s.skip;
}
int64_t PagedCache::skip_begin(SequenceId id) const { return at(id).sinks; }
int64_t PagedCache::skip_count(SequenceId id) const { return at(id).skip; }
std::span<const int32_t> PagedCache::pages(SequenceId id) const { return at(id).pages; }

int32_t PagedCache::slot(SequenceId id, int64_t i) const {
  const Sequence& s = at(id);
  int64_t stored = s.window > 0 && i >= s.sinks ? i + s.skip : i;
  return static_cast<int32_t>(s.pages[static_cast<size_t>(stored / page_size_)] * page_size_ +
                              stored % page_size_);
}

}  // namespace mlc::runtime
