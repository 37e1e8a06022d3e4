// Counts what the threads of a kernel do to memory, by running it in the interpreter: the same for every
// language.
//
//   KernelCount c = count(function, buffers, dims);
//   c.find("weight").fetched        // bytes moved: 32 for each sector of each access of a subgroup
//
// A subgroup's lanes access together: what they want of one 32-byte sector is fetched once (no cache is
// assumed between accesses). Functions without subgroup operations are counted in subgroups of 32. Shared
// memory has 32 banks of 4 bytes; an access of n words a lane is served 32 / n lanes at a time, and words of
// one bank that differ wait for each other.
#pragma once

#include <string>
#include <vector>

#include "kernel/interpret.h"
#include "kernel/ir.h"

namespace mlc::kernel {

struct BufferCount {
  std::string name;
  bool shared = false;
  int64_t loaded = 0, stored = 0;  // bytes that threads asked for
  int64_t fetched = 0,
          fetched_used = 0;  // global loads: bytes of sectors, and of them the bytes that some lane wanted
  int64_t written = 0, written_used = 0;  // global stores likewise
  int64_t conflicts = 0;                  // shared: turns beyond the first
};

struct KernelCount {
  std::string name;
  int64_t groups = 0, counted_groups = 0,
          threads = 0;               // figures below and of buffers are scaled to all groups
  int64_t barriers = 0;              // group x barrier
  int64_t divergent = 0;             // subgroup x branch or loop test where its lanes part
  std::vector<BufferCount> buffers;  // the function's, then shared ones in order

  const BufferCount& find(
      const std::string& name) const;  // by the beginning of the name; internal error when absent
  int64_t moved() const;               // fetched + written of all global buffers
  int64_t conflicts() const;
};

// Runs the function. most_groups > 0: only that many groups, spread evenly, stand for all. The buffers are
// written to.
KernelCount count(const Function& function, std::span<const HostBuffer> buffers,
                  std::span<const int64_t> dims, int64_t most_groups = 0);

}  // namespace mlc::kernel
