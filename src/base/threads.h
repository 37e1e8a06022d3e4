// Worker threads for work that is cut into independent pieces.
#pragma once

#include <cstdint>
#include <functional>

namespace mlc {

// How many threads to use: MLC_NUM_THREADS when it is a number above 0, else the cores this process may run
// on, by its affinity and its control groups' quota (rounded up).
int usable_threads();

// Calls work(i) once for every i in [0, count), on at most `threads` threads (the caller is one of them).
// Pieces are claimed in rising order, so a piece may wait for an earlier one. Returns when all are done.
// Within a piece of work that occupies all of its threads, another parallel_for runs on its caller alone.
void parallel_for(int threads, int64_t count, const std::function<void(int64_t)>& work);

}  // namespace mlc
