// Code objects as our compiler writes them, taken apart: a kernel's instructions over the registers of a
// wavefront.
//
// Source: AMD's instruction set references of "Vega" 7nm (gfx906) and RDNA 2 (gfx1030), LLVM's user guide of
// AMDGPU for descriptors and for how instructions are spelt. Only the instructions that device functions
// become on these two are known; any other is refused by name.
#pragma once

#include "lang/llvm/emit_amdgpu.h"
#include "simulate/grid.h"

namespace mlc::amdgpu {

class Wave;
struct Instruction;

// Scalar registers by their numbers in operands.
enum Scalar : uint16_t { kVcc = 106, kM0 = 124, kNull = 125, kExec = 126, kScalars = 128 };

struct Operand {
  enum class Kind : uint8_t { kNone, kVector, kScalar, kConstant };
  enum class Part : uint8_t { kWhole, kLow, kHigh, kByte0, kByte1, kByte2, kByte3 };
  Kind kind = Kind::kNone;
  uint8_t words = 1;
  uint16_t first = 0;  // register
  bool negative = false, absolute = false;
  Part part = Part::kWhole;
  uint64_t constant = 0;
};

enum class Control : uint8_t { kNone, kNothing, kBranch, kBarrier, kEnd };

// From which lane a vector operand comes (data-parallel primitives).
enum class Exchange : uint8_t { kNone, kQuad, kRowXor };

struct Instruction {
  void (*run)(Wave& wave, const Instruction& self) = nullptr;
  Control control = Control::kNone;
  bool (*taken)(const Wave& wave) = nullptr;  // of a branch; null: always
  uint64_t (*value)(uint64_t a, uint64_t b, uint64_t c) = nullptr;
  bool (*condition)(uint64_t a, uint64_t b) = nullptr;
  bool is_float = false;  // `condition` takes floats
  int bytes = 4;          // of a load or store; of the lanes of a pair of them
  int stride = 0;         // of the two offsets of a pair
  Operand operands[5];
  int operand_count = 0;
  Exchange exchange = Exchange::kNone;
  uint8_t quad[4] = {};        // or the mask of kRowXor, of a swizzle: [0]
  int64_t offset[2] = {0, 0};  // of an address, in bytes or strides
  uint32_t target = 0;         // of a branch: index of an instruction
  std::string text;            // for faults
};

struct Kernel final : GridKernel {
  void run(const GridCall& call, const LiveMemory& live, Counts& counts) const override;

  int lanes = 0;  // of a wavefront
  int64_t shared_bytes = 0;
  int arguments_at = 0;  // scalar register where the address of the arguments starts
  int group_at = 0;      // scalar register of the group's number
  int vectors = 1;       // registers
  std::vector<Instruction> instructions;
};

// The code object at `image`, whose size its header says, as drivers find it; "": there is none of version 4.
std::string code_object_at(const void* image);

// Throws Fault.
std::unique_ptr<Kernel> kernel_of(const lang::AmdgpuCode& code);

}  // namespace mlc::amdgpu
