// One call of a compiled kernel as bytes, so that it can be made in this process or in an emulator.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace mlc {

struct KernelCall {
  uint64_t kernel = 0;  // index into the library's first variant
  int64_t tiles = 1;
  int64_t piece = 3;  // tiles per invocation
  int64_t scratch_bytes = 0;
  std::vector<int64_t> dims;
  std::vector<std::vector<uint8_t>> buffers;  // read and written
};

using KernelEntry = void (*)(void* const*, const int64_t*, int64_t, int64_t, void*);

// Runs the tiles in pieces, the last first, so that a kernel that relies on their order shows; scratch holds
// NaNs.
inline void run_call(KernelEntry kernel, void* const* buffers, const int64_t* dims, int64_t tiles,
                     int64_t piece, int64_t scratch_bytes) {
  int64_t bytes = (scratch_bytes + 127) / 64 * 64;
  auto* scratch = static_cast<uint8_t*>(std::aligned_alloc(64, bytes));
  std::fill(scratch, scratch + bytes, 0xFF);
  for (int64_t begin = (tiles - 1) / piece * piece; begin >= 0; begin -= piece)
    kernel(buffers, dims, begin, std::min(tiles, begin + piece), scratch);
  std::free(scratch);
}

inline void run_call(KernelEntry kernel, KernelCall& call) {
  std::vector<void*> buffers;
  for (auto& buffer : call.buffers) buffers.push_back(buffer.data());
  run_call(kernel, buffers.data(), call.dims.data(), call.tiles, call.piece, call.scratch_bytes);
}

}  // namespace mlc
