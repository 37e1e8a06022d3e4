// parallel_for over std::thread: one atomic counter hands out the pieces.
#include "base/threads.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

#include "base/cgroup.h"
#include "base/env.h"

namespace mlc {
namespace {

// The CPU quota of this process's control groups in cores, 0 when there is none.
double cgroup_quota() {
  std::string membership;
  if (FILE* f = std::fopen("/proc/self/cgroup", "r")) {
    char buffer[4096];
    for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, f)) > 0;) membership.append(buffer, n);
    std::fclose(f);
  }
  return cgroup_cores("/sys/fs/cgroup", membership);
}

}  // namespace

int usable_threads() {
  std::string wanted = env::num_threads();
  int threads = 0;
  std::from_chars(wanted.data(), wanted.data() + wanted.size(), threads);
  if (threads > 0) return threads < 1024 ? threads : 1024;
#ifdef __linux__
  cpu_set_t cores;
  if (::sched_getaffinity(0, sizeof(cores), &cores) == 0) {
    static const double quota = cgroup_quota();
    return quota > 0 ? std::clamp(static_cast<int>(std::ceil(quota)), 1, CPU_COUNT(&cores))
                     : CPU_COUNT(&cores);
  }
#endif
  unsigned cores_here = std::thread::hardware_concurrency();
  return cores_here > 0 ? static_cast<int>(cores_here) : 1;
}

void parallel_for(int threads, int64_t count, const std::function<void(int64_t)>& work) {
  thread_local bool busy = false;  // inside of work that has a piece for each thread
  if (busy) threads = 1;
  const bool fills = threads > 1 && count >= threads;
  std::atomic<int64_t> next{0};
  auto run = [&] {
    const bool outer = std::exchange(busy, busy || fills);
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) work(i);
    busy = outer;
  };
  std::vector<std::thread> helpers;
  for (int64_t i = 1; i < threads && i < count; ++i) helpers.emplace_back(run);
  run();
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace mlc
