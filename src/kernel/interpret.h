// Reference interpreter of kernel IR: runs a function on host memory and checks every access.
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

// A function compiled to a compact tree. run() may be called from several threads at once.
class Program {
 public:
  explicit Program(const Function& function);
  ~Program();
  Program(Program&&) noexcept;

  // Runs grid iterations [tile_begin, tile_end). `buffers` and `dims` as in the function's lists. Internal error on an
  // access outside a buffer, a cast out of range, or a dot2_u8s8 that does not fit.
  void run(std::span<const HostBuffer> buffers, std::span<const int64_t> dims, int64_t tile_begin,
           int64_t tile_end) const;
  // The number of grid iterations for these dimensions.
  int64_t tiles(std::span<const int64_t> dims) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Compiles and runs all tiles once.
void interpret(const Function& function, std::span<const HostBuffer> buffers, std::span<const int64_t> dims);

}  // namespace mlc::kernel
