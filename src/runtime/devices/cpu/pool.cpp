// The CPU device's threads.
#include "runtime/devices/cpu/pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

namespace mlc::runtime {
namespace {

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How long a thread spins at a barrier before it lets others run: about 10 us (500 pauses of some 20 ns), more than the
// imbalance of one launch, less than a scheduler's slice. Another process on a core then costs its share, not a collapse.
constexpr int kSpinsBeforeYield = 500;
// How long an idle worker stays awake after a run: decode steps follow each other within this time, a chat's user does not.
constexpr auto kStayAwake = std::chrono::microseconds(200);

std::byte* allocate_scratch(int64_t bytes) {
  size_t rounded = (static_cast<size_t>(bytes) + 63) / 64 * 64;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(64, std::max<size_t>(rounded, 64)));
  internal_check(memory != nullptr, "cpu device: no memory for kernel scratch");
  return memory;
}

}  // namespace

LaunchPool::LaunchPool(int threads)
    : threads_(threads), scratch_(static_cast<size_t>(threads), nullptr), ranges_(new Range[2 * static_cast<size_t>(threads)]) {
  for (int t = 1; t < threads; ++t) workers_.emplace_back([this, t] { worker(t); });
}

LaunchPool::~LaunchPool() {
  stopping_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& w : workers_) w.join();
  for (std::byte* s : scratch_) std::free(s);
}

void LaunchPool::run(std::span<const CpuKernel> kernels, std::span<const Launch> launches) {
  if (launches.empty()) return;
  int64_t scratch = 0;
  for (const Launch& l : launches) scratch = std::max(scratch, l.scratch_bytes);
  if (scratch > scratch_bytes_) {
    for (std::byte*& s : scratch_) {
      std::free(s);
      s = allocate_scratch(scratch);
    }
    scratch_bytes_ = scratch;
  }
  kernels_ = kernels;
  launches_ = launches;
  for (int t = 0; t < threads_; ++t) prepare(0, t);
  if (threads_ > 1) {
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
  }
  walk(0);
}

void LaunchPool::worker(int thread) {
  uint32_t seen = 0;
  for (;;) {
    auto deadline = std::chrono::steady_clock::now() + kStayAwake;
    uint32_t now;
    for (int spins = 0; (now = generation_.load(std::memory_order_acquire)) == seen; ++spins) {
      pause_briefly();
      if (spins % 64 == 63 && std::chrono::steady_clock::now() > deadline) generation_.wait(seen);
    }
    seen = now;
    if (stopping_) return;
    walk(thread);
  }
}

// Sets this thread's share of the launch's tiles.
void LaunchPool::prepare(size_t launch, int thread) {
  Range& range = ranges_[(launch % 2) * static_cast<size_t>(threads_) + static_cast<size_t>(thread)];
  int64_t tiles = launches_[launch].tiles;
  range.end = tiles * (thread + 1) / threads_;
  range.next.store(tiles * thread / threads_, std::memory_order_relaxed);
}

void LaunchPool::run_tiles(size_t launch, int thread, void* const* buffers) {
  const Launch& l = launches_[launch];
  CpuKernel kernel = kernels_[l.kernel];
  Range* ranges = &ranges_[(launch % 2) * static_cast<size_t>(threads_)];
  // A claim is an eighth of a share: late threads can be helped, and the atomic is touched a few times per launch.
  int64_t step = std::max<int64_t>(1, l.tiles / threads_ / 8);
  for (int i = 0; i < threads_; ++i) {
    Range& range = ranges[(thread + i) % threads_];
    for (;;) {
      if (range.next.load(std::memory_order_relaxed) >= range.end) break;
      int64_t begin = range.next.fetch_add(step, std::memory_order_relaxed);
      if (begin >= range.end) break;
      kernel(buffers, l.dims.data(), begin, std::min(begin + step, range.end), scratch_[static_cast<size_t>(thread)]);
    }
  }
}

void LaunchPool::walk(int thread) {
  constexpr size_t kMaxBuffers = 64;
  void* buffers[kMaxBuffers];
  // A copy: after the last barrier the caller may already set the launches of its next run.
  const std::span<const Launch> launches = launches_;
  for (size_t i = 0; i < launches.size(); ++i) {
    const Launch& l = launches[i];
    internal_check(l.buffers.size() <= kMaxBuffers, "cpu device: a kernel with more than 64 buffers");
    for (size_t b = 0; b < l.buffers.size(); ++b)
      buffers[b] = static_cast<char*>(l.buffers[b].handle) + l.buffers[b].offset;
    if (i + 1 < launches.size()) prepare(i + 1, thread);
    run_tiles(i, thread, buffers);
    barrier();
  }
}

void LaunchPool::barrier() {
  if (threads_ == 1) return;
  uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == threads_ - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins) {
    if (spins < kSpinsBeforeYield) pause_briefly();
    else sched_yield();
  }
}

}  // namespace mlc::runtime
