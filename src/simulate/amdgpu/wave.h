// The state that instructions work on.
#pragma once

#include <bit>
#include <cstring>

#include "simulate/amdgpu/code.h"

namespace mlc::amdgpu {

class Wave {
 public:
  Wave(const Kernel& kernel, const std::vector<uint8_t>& arguments, GlobalMemory& global,
       SharedMemory& shared, int number);

  void begin_group(int64_t group);
  // Runs until the wavefront stands at a barrier or has ended. False: it has ended.
  bool run(Counts& counts);

  int lanes() const { return kernel_.lanes; }
  int number() const { return number_; }
  uint32_t* vector(int number) { return &vectors_[static_cast<size_t>(number * kernel_.lanes)]; }

  // Masks of lanes: one scalar register or two.
  uint64_t mask(int number) const {
    return kernel_.lanes == 32 ? scalars[number] : scalars[number] | uint64_t{scalars[number + 1]} << 32;
  }
  void set_mask(int number, uint64_t mask) {
    scalars[number] = static_cast<uint32_t>(mask);
    if (kernel_.lanes == 64) scalars[number + 1] = static_cast<uint32_t>(mask >> 32);
  }
  uint64_t active() const { return mask(kExec); }
  template <typename F>
  void for_lanes(F f) {
    for (uint64_t m = active(); m; m &= m - 1) f(std::countr_zero(m));
  }

  // Bits of an operand for a lane, and without the lane of scalars and constants alone.
  uint64_t get(const Operand& o, int lane) const;
  void set(const Operand& o, int lane, uint64_t bits);
  uint64_t get(const Operand& o) const;
  void set(const Operand& o, uint64_t bits);
  void set_scalar(int number, uint32_t bits);

  uint32_t scalars[kScalars] = {};
  bool scc = false;
  GlobalMemory& global;
  SharedMemory& shared;

 private:
  const Kernel& kernel_;
  const int number_;
  const std::vector<uint8_t>& arguments_;
  std::vector<uint32_t> vectors_;
  size_t at_ = 0;
};

inline float f32(uint64_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits)); }
inline uint64_t f32_bits(float v) { return std::bit_cast<uint32_t>(v); }
inline int32_t i32(uint64_t bits) { return static_cast<int32_t>(static_cast<uint32_t>(bits)); }
inline uint32_t u32(uint64_t bits) { return static_cast<uint32_t>(bits); }

// Fills what runs an instruction from its mnemonic, which has no suffix of its encoding; false: unknown.
bool select_vector(const std::string& mnemonic, Instruction& out);
bool select_scalar(const std::string& mnemonic, Instruction& out);
bool select_memory(const std::string& mnemonic, Instruction& out);

}  // namespace mlc::amdgpu
