// Tests of the CPU's threads: every tile runs once, launches in order, from few tiles to none, with threads
// coming late.
#include "runtime/devices/cpu/pool.h"

#include <gtest/gtest.h>

#include <numeric>

namespace mlc::runtime {
namespace {

constexpr int64_t kTiles = 97;

// y[i] = x[i] + y[tiles - 1 - i], which the launch before stored: launches out of order or tiles run twice
// show.
void add_mirrored(void* const* buffers, const int64_t* dims, int64_t begin, int64_t end, void*) {
  const auto* x = static_cast<const int64_t*>(buffers[0]);
  auto* y = static_cast<int64_t*>(buffers[1]);
  for (int64_t i = begin; i < end; ++i) y[i] = x[dims[0] - 1 - i] + i;
}

// Counts its tiles, slowly on one of them.
void count_tiles(void* const* buffers, const int64_t*, int64_t begin, int64_t end, void* scratch) {
  auto* counts = static_cast<int64_t*>(buffers[0]);
  for (int64_t i = begin; i < end; ++i) {
    if (i == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
    *static_cast<int64_t*>(scratch) = i;
    counts[i] += 1;
  }
}

class Pool : public ::testing::TestWithParam<int> {};

TEST_P(Pool, RunsLaunchesInOrder) {
  LaunchPool pool(GetParam());
  std::vector<int64_t> a(kTiles), b(kTiles), expected(kTiles);
  const DeviceAddress there[] = {{a.data(), 0}, {b.data(), 0}}, back[] = {{b.data(), 0}, {a.data(), 0}};
  const int64_t dims[] = {kTiles};
  const CpuKernel kernels[] = {add_mirrored};
  for (int run = 0; run < 20; ++run) {
    std::vector<Launch> launches;
    for (int i = 0; i < 50; ++i) {
      launches.push_back({.kernel = 0, .buffers = i % 2 ? back : there, .dims = dims, .tiles = kTiles});
      std::vector<int64_t> before = expected;
      for (int64_t t = 0; t < kTiles; ++t) expected[size_t(t)] = before[size_t(kTiles - 1 - t)] + t;
    }
    pool.run(kernels, launches);
    ASSERT_EQ(a, expected) << "run " << run;
  }
}

TEST_P(Pool, RunsEveryTileOnce) {
  LaunchPool pool(GetParam());
  std::vector<int64_t> counts(kTiles), expected(kTiles);
  const DeviceAddress buffers[] = {{counts.data(), 0}};
  const CpuKernel kernels[] = {count_tiles};
  std::vector<Launch> launches;
  for (int64_t tiles :
       {kTiles, int64_t{0}, int64_t{1}, int64_t{2}, int64_t{0}, int64_t{7}, kTiles, int64_t{0}}) {
    launches.push_back({.kernel = 0, .buffers = buffers, .dims = {}, .tiles = tiles, .scratch_bytes = 64});
    for (int64_t t = 0; t < tiles; ++t) expected[size_t(t)] += 1;
  }
  pool.run(kernels, launches);
  EXPECT_EQ(counts, expected);
  pool.run(kernels, std::span(launches).subspan(1, 1));  // nothing but an empty launch
  EXPECT_EQ(counts, expected);
}

TEST_P(Pool, WakesAfterARest) {
  LaunchPool pool(GetParam());
  std::vector<int64_t> counts(kTiles);
  const DeviceAddress buffers[] = {{counts.data(), 0}};
  const CpuKernel kernels[] = {count_tiles};
  const Launch launch{.kernel = 0, .buffers = buffers, .dims = {}, .tiles = kTiles, .scratch_bytes = 64};
  for (int run = 1; run <= 5; ++run) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    pool.run(kernels, {&launch, 1});
    EXPECT_EQ(counts, std::vector<int64_t>(kTiles, run));
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, Pool, ::testing::Values(1, 2, 3, 8));

}  // namespace
}  // namespace mlc::runtime
