// The state that instructions work on.
#pragma once

#include <bit>
#include <cstring>

#include "base/strings.h"
#include "simulate/ptx/machine.h"

namespace mlc::ptx {

class Warp {
 public:
  Warp(const Entry& entry, const GridCall& call, GlobalMemory& global, SharedMemory& shared, int number,
       int64_t groups);

  void begin_group(int64_t group);
  // Runs until all lanes stand at a barrier or have returned. False: they have returned.
  bool run(Counts& counts);

  uint64_t* lanes(uint32_t slot) { return &registers_[size_t{slot} * kLanes]; }
  uint32_t all() const { return all_; }
  int thread(int lane) const { return number_ * kLanes + lane; }

  GlobalMemory& global;
  SharedMemory& shared;
  const GridCall& call;

 private:
  struct Path {
    uint32_t at, mask;
  };
  void branch(const Instruction& i, uint32_t taken);
  void take_lowest();
  uint32_t guarded(const Instruction& i);
  bool meet(const Instruction& i, uint32_t mask);
  bool leave(uint32_t mask);

  const Entry& entry_;
  const int number_;
  uint32_t all_;  // lanes that the group has
  std::vector<uint64_t> registers_;
  Path now_{};
  std::vector<Path> others_;   // lanes that are elsewhere
  std::vector<Path> waiting_;  // lanes that stand before an instruction that needs the others
};

template <typename T>
T value(const uint64_t& bits) {
  T v;
  std::memcpy(&v, &bits, sizeof v);  // little-endian: the low bits
  return v;
}

template <typename T>
uint64_t bits_of(T v) {
  uint64_t bits = 0;
  std::memcpy(&bits, &v, sizeof v);
  return bits;
}

template <typename F>
void for_lanes(uint32_t mask, F f) {
  if (mask == 0xFFFFFFFF) {
    for (int lane = 0; lane < kLanes; ++lane) f(lane);
    return;
  }
  for (; mask; mask &= mask - 1) f(std::countr_zero(mask));
}

}  // namespace mlc::ptx
