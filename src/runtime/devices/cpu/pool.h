// The CPU device's threads: they walk one list of launches together. A launch begins when all tiles of the
// one before it have run; a thread that the system has stopped holds up the others only while it holds tiles.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "base/platform/platform.h"
#include "runtime/device.h"

namespace mlc::runtime {

class LaunchPool {
 public:
  // `threads` >= 1, the calling thread included.
  explicit LaunchPool(int threads);
  ~LaunchPool();
  LaunchPool(const LaunchPool&) = delete;
  LaunchPool& operator=(const LaunchPool&) = delete;

  // Runs the launches in order on all threads; returns when all have run. kernels[i] is Launch::kernel i.
  void run(std::span<const CpuKernel> kernels, std::span<const Launch> launches);
  int threads() const { return threads_; }

 private:
  // The unclaimed rest of one thread's share of a launch's tiles: the launch's epoch (24 bits) over the next
  // tile (40 bits). Its owner claims from it first; who is done claims from the others'. A claim by a thread
  // that still believes in an earlier epoch fails.
  struct alignas(64) Share {
    std::atomic<uint64_t> next{0};
  };

  void worker(int thread);
  uint32_t walk(int thread);
  void run_tiles(uint32_t epoch, int thread);
  void open_launch(uint32_t index);
  uint32_t wait_for_change(uint32_t seen, int64_t spin_ns);
  void wake_sleepers();

  const int threads_;
  std::span<const CpuKernel> kernels_;
  std::span<const Launch> launches_;
  uint32_t first_ = 0;               // count of launches before launches_[0]
  std::vector<std::byte*> scratch_;  // per thread
  int64_t scratch_bytes_ = 0;
  std::unique_ptr<Share[]> shares_;  // of the current launch, per thread
  // Twice the count of launches before the current one; between runs, the same plus 1.
  alignas(64) std::atomic<uint32_t> epoch_{1};
  alignas(64) std::atomic<int64_t> tiles_left_{0};  // of the current launch, not run yet
  alignas(64) std::atomic<int> readers_{0};         // threads that may look at launches_
  alignas(64) std::atomic<int> sleepers_{0};        // threads that wait for epoch_ asleep; may be too large
  std::atomic<bool> stopping_{false};
  platform::Threads workers_;
};

}  // namespace mlc::runtime
