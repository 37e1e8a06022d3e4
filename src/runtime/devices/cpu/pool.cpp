// The CPU device's threads.
#include "runtime/devices/cpu/pool.h"

#include <algorithm>
#include <chrono>
#include <new>

namespace mlc::runtime {
namespace {

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How long a thread spins for the others' tiles before it sleeps: more than the imbalance of one launch. A
// sleeping thread frees its core for one that was stopped with tiles in hand, so that another process costs
// its share of the cores and not a scheduler's slice (some ms) per launch.
constexpr int64_t kSpinInRun = 50'000;  // ns
// How long an idle worker stays awake after a run: decode steps follow each other within this time, a chat's
// user does not.
constexpr int64_t kSpinBetweenRuns = 200'000;  // ns

constexpr int kTileBits = 40;
constexpr uint64_t kTileMask = (uint64_t{1} << kTileBits) - 1;

uint64_t share_word(uint32_t epoch, int64_t tile) {
  return uint64_t{epoch} << kTileBits | static_cast<uint64_t>(tile);  // keeps the epoch's low 24 bits
}

bool between_runs(uint32_t epoch) { return epoch % 2 == 1; }

int64_t share_begin(int64_t tiles, int threads, int thread) { return tiles * thread / threads; }

constexpr std::align_val_t kScratchAlignment{64};

std::byte* allocate_scratch(int64_t bytes) {
  size_t rounded = (static_cast<size_t>(bytes) + 63) / 64 * 64;
  auto* memory =
      static_cast<std::byte*>(::operator new(std::max<size_t>(rounded, 64), kScratchAlignment, std::nothrow));
  internal_check(memory != nullptr, "cpu device: no memory for kernel scratch");
  return memory;
}

void free_scratch(std::byte* memory) { ::operator delete(memory, kScratchAlignment); }

}  // namespace

LaunchPool::LaunchPool(int threads)
    : threads_(threads),
      scratch_(static_cast<size_t>(threads), nullptr),
      shares_(new Share[static_cast<size_t>(threads)]) {
  for (int t = 1; t < threads; ++t) workers_.start([this, t] { worker(t); });
}

LaunchPool::~LaunchPool() {
  stopping_ = true;
  epoch_.fetch_add(2);
  epoch_.notify_all();
  workers_.join();
  for (std::byte* s : scratch_) free_scratch(s);
}

void LaunchPool::run(std::span<const CpuKernel> kernels, std::span<const Launch> launches) {
  if (launches.empty()) return;
  int64_t scratch = 0;
  for (const Launch& l : launches) scratch = std::max(scratch, l.scratch_bytes);
  if (scratch > scratch_bytes_) {
    for (std::byte*& s : scratch_) {
      free_scratch(s);
      s = allocate_scratch(scratch);
    }
    scratch_bytes_ = scratch;
  }
  kernels_ = kernels;
  launches_ = launches;
  first_ = epoch_.load() / 2 + 1;
  open_launch(0);
  walk(0);
  // A late worker may still look at the launches, which belong to the caller.
  for (int spins = 1; readers_.load() != 0; ++spins) {
    pause_briefly();
    if (spins % 64 == 0) platform::let_others_run();
  }
}

void LaunchPool::worker(int thread) {
  // stopping_ is set before epoch_ changes for the last time: who has seen that change sees it.
  for (uint32_t seen = 1; !stopping_; seen = walk(thread)) {
    wait_for_change(seen, kSpinBetweenRuns);
    if (stopping_) return;
  }
}

// Makes the launch of that index the current one, or the first after it that has tiles, or ends the run.
void LaunchPool::open_launch(uint32_t index) {
  while (index < launches_.size() && launches_[index].tiles == 0) ++index;
  uint32_t epoch = 2 * (first_ + index);
  if (index < launches_.size()) {
    int64_t tiles = launches_[index].tiles;
    tiles_left_.store(tiles, std::memory_order_relaxed);
    for (int t = 0; t < threads_; ++t)
      shares_[t].next.store(share_word(epoch, share_begin(tiles, threads_, t)), std::memory_order_relaxed);
  } else {
    ++epoch;
  }
  epoch_.store(epoch);
  wake_sleepers();
}

void LaunchPool::wake_sleepers() {
  if (sleepers_.load() != 0 && sleepers_.exchange(0) != 0) epoch_.notify_all();
}

// Waits until epoch_ is not `seen`; returns it.
uint32_t LaunchPool::wait_for_change(uint32_t seen, int64_t spin_ns) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point deadline{};
  for (int spins = 1;; ++spins) {
    uint32_t now = epoch_.load(std::memory_order_acquire);
    if (now != seen) return now;
    pause_briefly();
    if (spins % 64 != 0) continue;
    if (spins == 64) {
      deadline = Clock::now() + std::chrono::nanoseconds(spin_ns);
    } else if (Clock::now() > deadline) {
      sleepers_.fetch_add(1);
      epoch_.wait(seen);  // looks at epoch_ again before it sleeps
    }
  }
}

void LaunchPool::run_tiles(uint32_t epoch, int thread) {
  constexpr size_t kMaxBuffers = 64;
  void* buffers[kMaxBuffers];
  const uint32_t index = (epoch / 2 - first_) & (UINT32_MAX / 2);  // the count wraps after 2^31 launches
  const Launch& l = launches_[index];
  internal_check(l.buffers.size() <= kMaxBuffers, "cpu device: a kernel with more than 64 buffers");
  for (size_t b = 0; b < l.buffers.size(); ++b)
    buffers[b] = static_cast<char*>(l.buffers[b].handle) + l.buffers[b].offset;
  CpuKernel kernel = kernels_[l.kernel];
  // A claim is an eighth of a share: late threads can be helped, and the atomic is touched a few times per
  // launch.
  const int64_t step = std::max<int64_t>(1, l.tiles / threads_ / 8);
  const uint64_t tag = share_word(epoch, 0);
  int64_t done = 0;
  for (int i = 0; i < threads_; ++i) {
    int owner = (thread + i) % threads_;
    std::atomic<uint64_t>& share = shares_[owner].next;
    const int64_t end = share_begin(l.tiles, threads_, owner + 1);
    for (uint64_t word = share.load(std::memory_order_relaxed);;) {
      if ((word & ~kTileMask) != tag) break;  // another launch's
      auto begin = static_cast<int64_t>(word & kTileMask), stop = std::min(begin + step, end);
      if (begin >= end) break;
      if (!share.compare_exchange_weak(word, share_word(epoch, stop), std::memory_order_relaxed)) continue;
      kernel(buffers, l.dims.data(), begin, stop, scratch_[static_cast<size_t>(thread)]);
      done += stop - begin;
      word = share.load(std::memory_order_relaxed);
    }
  }
  if (done != 0 && tiles_left_.fetch_sub(done, std::memory_order_acq_rel) == done) open_launch(index + 1);
}

// Takes part until the run is over; returns the epoch after it.
uint32_t LaunchPool::walk(int thread) {
  for (;;) {
    // Entered before the epoch is read: who reads an epoch of this run keeps run() from returning.
    readers_.fetch_add(1);
    uint32_t epoch = epoch_.load();
    if (!between_runs(epoch)) run_tiles(epoch, thread);
    readers_.fetch_sub(1);
    if (between_runs(epoch)) return epoch;
    if (uint32_t now = wait_for_change(epoch, kSpinInRun); between_runs(now)) return now;
  }
}

}  // namespace mlc::runtime
