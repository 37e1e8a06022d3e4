// The CPU device's threads: all walk one list of launches together, meeting at a barrier after each launch.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <thread>
#include <vector>

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
  // One thread's share of a launch's tiles. Its owner takes from it first; who is done takes from the others'.
  struct alignas(64) Range {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  void worker(int thread);
  void walk(int thread);
  void prepare(size_t launch, int thread);
  void run_tiles(size_t launch, int thread, void* const* buffers);
  void barrier();

  const int threads_;
  std::span<const CpuKernel> kernels_;
  std::span<const Launch> launches_;
  std::vector<std::byte*> scratch_;  // per thread
  int64_t scratch_bytes_ = 0;
  std::unique_ptr<Range[]> ranges_;  // two sets of threads_ ranges: launch i uses set i % 2
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};  // one per run(); workers wait for it to change
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> workers_;
};

}  // namespace mlc::runtime
