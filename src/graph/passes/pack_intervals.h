// Places blocks that live for a while in one array, so that blocks alive at the same time do not overlap and
// the array is short. Largest first into the lowest gap (greedy by size: "Efficient Memory Management for
// Deep Neural Net Inference", 2020); where that misses the lower bound (the largest sum of sizes alive at one
// time), other orders are tried.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mlc::graph {

struct Interval {
  int64_t size = 0;
  size_t first = 0, last = 0;  // alive at times first..last
  int64_t offset = 0;          // filled in
};

// Sets every offset and returns the length of the array. Deterministic.
int64_t pack_intervals(std::vector<Interval>& intervals);

// The largest sum of sizes alive at one time.
int64_t largest_live_sum(const std::vector<Interval>& intervals);

}  // namespace mlc::graph
