// Packs intervals by size, then by trial.
#include "graph/passes/pack_intervals.h"

#include <algorithm>
#include <numeric>

namespace mlc::graph {
namespace {

constexpr int kRounds = 24;  // orders tried after the first two

using Order = std::vector<size_t>;

// The lowest offset where `b` meets none of the placed intervals that live at the same time.
int64_t lowest_gap(const Interval& b, const std::vector<const Interval*>& placed) {
  std::vector<const Interval*> neighbours;
  for (const Interval* p : placed)
    if (p->first <= b.last && b.first <= p->last) neighbours.push_back(p);
  std::sort(neighbours.begin(), neighbours.end(), [](auto* x, auto* y) { return x->offset < y->offset; });
  int64_t offset = 0;
  for (const Interval* p : neighbours) {
    if (offset + b.size <= p->offset) break;
    offset = std::max(offset, p->offset + p->size);
  }
  return offset;
}

int64_t place(std::vector<Interval>& intervals, const Order& order) {
  std::vector<const Interval*> placed;
  int64_t total = 0;
  for (size_t i : order) {
    intervals[i].offset = lowest_gap(intervals[i], placed);
    total = std::max(total, intervals[i].offset + intervals[i].size);
    placed.push_back(&intervals[i]);
  }
  return total;
}

}  // namespace

int64_t largest_live_sum(const std::vector<Interval>& intervals) {
  size_t end = 0;
  for (const Interval& i : intervals) end = std::max(end, i.last + 2);
  std::vector<int64_t> change(end);
  for (const Interval& i : intervals) {
    change[i.first] += i.size;
    change[i.last + 1] -= i.size;
  }
  int64_t live = 0, largest = 0;
  for (int64_t c : change) largest = std::max(largest, live += c);
  return largest;
}

int64_t pack_intervals(std::vector<Interval>& intervals) {
  const int64_t bound = largest_live_sum(intervals);
  Order by_time(intervals.size());
  std::iota(by_time.begin(), by_time.end(), 0);
  std::stable_sort(by_time.begin(), by_time.end(),
                   [&](size_t a, size_t b) { return intervals[a].first < intervals[b].first; });
  Order order = by_time;
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return intervals[a].size > intervals[b].size; });
  std::vector<Interval> best = intervals;
  int64_t best_total = place(best, order);
  auto attempt = [&](const Order& candidate) {
    int64_t total = place(intervals, candidate);
    if (total >= best_total) return;
    best_total = total;
    best = intervals;
  };
  if (best_total > bound) attempt(by_time);
  // The interval that reaches furthest was placed too late: place it first, and look again.
  place(intervals, order);
  for (int round = 0; round < kRounds && best_total > bound; ++round) {
    auto top = std::max_element(order.begin(), order.end(), [&](size_t a, size_t b) {
      return intervals[a].offset + intervals[a].size < intervals[b].offset + intervals[b].size;
    });
    std::rotate(order.begin(), top, top + 1);
    attempt(order);
  }
  intervals = std::move(best);
  return best_total;
}

}  // namespace mlc::graph
