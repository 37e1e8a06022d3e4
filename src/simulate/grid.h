// What simulated GPUs have in common: kernels, their memory, and the turns of a group's warps.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/strings.h"

namespace mlc {

// A code that is none we know, or what a kernel did that a GPU would answer with an error or with garbage;
// one sentence.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The memory that kernels may touch: begin -> end, host addresses. Not copied.
using LiveMemory = std::map<uint64_t, uint64_t>;

struct Counts {
  int64_t instructions = 0;  // of warps
  int64_t barriers = 0;      // of groups
};

struct GridCall {
  int64_t groups = 0;
  std::vector<uint8_t> parameters;  // parameter_bytes of the kernel, in its layout
};

// A kernel as a driver sees it.
struct GridKernel {
  struct Parameter {
    int64_t offset = 0, bytes = 0;
    bool is_address = false;
  };
  std::string name;
  int threads = 0;  // of a group
  std::vector<Parameter> parameters;
  int64_t parameter_bytes = 0;

  virtual ~GridKernel() = default;
  // Throws Fault that starts with the kernel's name.
  virtual void run(const GridCall& call, const LiveMemory& memory, Counts& counts) const = 0;
};

// What the threads of a group share, with who touched each word since the last barrier. Who that is, is for
// the machine: threads, or warps where those act as one.
class SharedMemory {
 public:
  SharedMemory(int64_t bytes, const char* who)
      : who_(who), bytes_(static_cast<size_t>(bytes)), words_((bytes_.size() + 3) / 4) {}
  void begin_group();
  void barrier() { ++epoch_; }
  uint8_t* at(uint64_t address, size_t bytes, size_t alignment, int user, bool store);

 private:
  struct Word {
    uint32_t store_epoch = 0, load_epoch = 0;
    int16_t storer = 0, loader = 0;  // kMany: several
  };
  static constexpr int16_t kMany = -1;
  const char* who_;  // "thread"
  std::vector<uint8_t> bytes_;
  std::vector<Word> words_;
  uint32_t epoch_ = 1;
};

class GlobalMemory {
 public:
  explicit GlobalMemory(const LiveMemory& live) : live_(live) {}
  uint8_t* at(uint64_t address, size_t bytes, size_t alignment);

 private:
  const LiveMemory& live_;
  uint64_t begin_ = 0, end_ = 0;  // of the last one
};

// All groups, one after another, the warps of a group in turns between barriers. Warp has begin_group(number)
// and run(counts), which is false once the warp has returned and true at a barrier.
template <typename Warp>
void run_groups(const std::string& kernel, int64_t groups, std::vector<Warp>& warps, SharedMemory& shared,
                Counts& counts) {
  try {
    for (int64_t group = 0; group < groups; ++group) {
      shared.begin_group();
      for (Warp& w : warps) w.begin_group(group);
      for (size_t waiting = warps.size(); waiting == warps.size();) {
        waiting = 0;
        for (Warp& w : warps) waiting += w.run(counts);
        if (waiting != 0 && waiting != warps.size())
          throw Fault(
              str(waiting, " of ", warps.size(), " warps wait at a barrier that the others never reach"));
        shared.barrier();
        counts.barriers += waiting != 0;
      }
    }
  } catch (const Fault& fault) {
    throw Fault(str("kernel ", kernel, ": ", fault.what()));
  }
}

}  // namespace mlc
