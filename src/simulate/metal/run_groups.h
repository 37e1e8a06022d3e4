// Runs the groups of one kernel on a CPU: threads as fibers that take turns, so that a barrier is a turn in
// which all of them come to the same place. Included behind the text of kernels.
#pragma once

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace mlc_metal {

struct Any {
  void* at;
  template <class T>
  operator T*() const {
    return static_cast<T*>(at);
  }
};

using Body = void (*)(void** buffers, const int* dims, metal::uint3 group, uint thread);

constexpr size_t kStack = 128 << 10, kLaneBytes = 16;
constexpr uint kLanes = 32;

struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  bool done = false;
  int met = 0;  // barriers and exchanges so far
};

struct Group {
  Body body;
  void** buffers;
  const int* dims;
  metal::uint3 at;
  std::vector<Fiber> threads;
  ucontext_t turn;
  uint now = 0;
  std::vector<char> brought[2];  // of exchanges in turn: one may be read while the next is written
};
inline thread_local Group* here = nullptr;

inline void meet() {
  Group& g = *here;
  Fiber& me = g.threads[g.now];
  ++me.met;
  swapcontext(&me.context, &g.turn);
}

inline int lane_of_thread() { return int(here->now % kLanes); }

inline const void* exchange(const void* mine, size_t bytes, int lane) {
  Group& g = *here;
  std::vector<char>& slots = g.brought[g.threads[g.now].met % 2];
  std::memcpy(&slots[g.now * kLaneBytes], mine, bytes);
  meet();
  return &slots[(g.now / kLanes * kLanes + uint(lane)) * kLaneBytes];
}

inline void enter() {
  Group& g = *here;
  g.body(g.buffers, g.dims, g.at, g.now);
  g.threads[g.now].done = true;
}

// One group: turns until all threads are done. Threads that part at a barrier are a wrong kernel.
inline bool run_group(Group& g) {
  for (Fiber& f : g.threads) {
    f.done = false, f.met = 0;
    f.stack.resize(kStack);
    getcontext(&f.context);
    f.context.uc_stack = {.ss_sp = f.stack.data(), .ss_flags = 0, .ss_size = kStack};
    f.context.uc_link = &g.turn;
    makecontext(&f.context, enter, 0);
  }
  for (;;) {
    uint done = 0;
    for (g.now = 0; g.now < g.threads.size(); ++g.now) {
      Fiber& f = g.threads[g.now];
      swapcontext(&g.turn, &f.context);
      done += f.done;
      if (f.done != g.threads[0].done || f.met != g.threads[0].met) return false;
    }
    if (done == g.threads.size()) return true;
  }
}

inline bool run_groups(Body body, void** buffers, const int* dims, uint groups, uint threads) {
  constexpr uint kRow = 32768;  // kernel::kGroupsPerRow
  Group g{.body = body, .buffers = buffers, .dims = dims, .at = {0, 0, 0}, .threads = {}};
  g.threads.resize(threads);
  for (auto& b : g.brought) b.resize(threads * kLaneBytes);
  here = &g;
  // In rows, so that there may be more groups than `groups`: they leave by themselves.
  const uint height = (groups + kRow - 1) / kRow, width = groups < kRow ? groups : kRow;
  for (g.at.y = 0; g.at.y < height; ++g.at.y)
    for (g.at.x = 0; g.at.x < width; ++g.at.x)
      if (!run_group(g)) return false;
  return true;
}

}  // namespace mlc_metal
