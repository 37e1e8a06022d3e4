// Reference interpreter of kernel IR: runs a function on host memory and checks every access. The threads of
// thread-bound functions run in lockstep, statement by statement.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "kernel/ir.h"

namespace mlc::kernel {

// A buffer of the call: `bytes` bytes at `data`, not owned.
struct HostBuffer {
  void* data = nullptr;
  int64_t bytes = 0;
};

class GroupCounter;  // kernel/count.h

// A function compiled to a compact tree. run() may be called from several threads at once.
class Program {
 public:
  explicit Program(const Function& function);
  ~Program();
  Program(Program&&) noexcept;

  // Runs grid iterations [tile_begin, tile_end). `buffers` and `dims` as in the function's lists. Internal
  // error on an access outside a buffer, a cast out of range, or a dot2_u8s8 that does not fit; in a
  // thread-bound function also on a race, a vector access that is not aligned, and a barrier that not all
  // threads of the group reach. `counter` (optional, not owned) is told what the threads of a thread-bound
  // function do.
  void run(std::span<const HostBuffer> buffers, std::span<const int64_t> dims, int64_t tile_begin,
           int64_t tile_end, GroupCounter* counter = nullptr) const;
  // The number of grid iterations for these dimensions.
  int64_t tiles(std::span<const int64_t> dims) const;

  struct Impl;  // interpret_program.h

 private:
  std::unique_ptr<Impl> impl_;
};

// Compiles and runs all tiles once.
void interpret(const Function& function, std::span<const HostBuffer> buffers, std::span<const int64_t> dims);

}  // namespace mlc::kernel
