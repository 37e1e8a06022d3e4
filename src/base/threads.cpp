// parallel_for: one atomic counter hands out the pieces.
#include "base/threads.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <string>
#include <utility>

#include "base/env.h"
#include "base/platform/platform.h"

namespace mlc {

int usable_threads() {
  std::string wanted = env::num_threads();
  int threads = 0;
  std::from_chars(wanted.data(), wanted.data() + wanted.size(), threads);
  return std::min(threads > 0 ? threads : platform::usable_cores(), platform::most_threads());
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
  platform::Threads helpers;
  for (int64_t i = 1; i < threads && i < count && i < platform::most_threads(); ++i) helpers.start(run);
  run();
}

}  // namespace mlc
