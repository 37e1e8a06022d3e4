// PTX as our compiler writes it, parsed: the entries of a module as instructions over the registers of a
// warp.
//
// Source: PTX ISA 8.5. Only the instructions that device functions become are known; any other is refused by
// name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "simulate/grid.h"

namespace mlc::ptx {

inline constexpr int kLanes = 32;  // of a warp

struct Instruction;
class Warp;

using mlc::Fault;

enum class Control : uint8_t { kNone, kBranch, kBarrier, kReturn };

// Operands are slots: the values of the lanes lie at slot * kLanes, each in the low bits of 64. Constants
// have slots too.
struct Instruction {
  void (*run)(Warp& warp, const Instruction& self, uint32_t mask) = nullptr;  // null for control flow
  Control control = Control::kNone;
  int guard = -1;  // slot of the predicate
  bool guard_inverted = false;
  bool together = false;               // all lanes of the warp must run it at once
  uint8_t lanes = 1;                   // values of a load, store or move
  uint32_t to[4] = {}, from[10] = {};  // mma: four registers of A, two of B, four of C
  int64_t offset = 0;                  // of an address; the immediate of what has one
  uint32_t target = 0;                 // of a branch: index of an instruction
  int line = 0;                        // of the text
};

// The first slots of every entry.
enum Special : uint32_t { kThread, kThreads, kGroup, kGroups, kLane, kFirstFree };

struct Entry final : GridKernel {  // threads: as .reqntid says
  void run(const GridCall& call, const LiveMemory& live, Counts& counts) const override;

  int64_t shared_bytes = 0;
  uint32_t slots = kFirstFree;
  std::vector<std::pair<uint32_t, uint64_t>> constants;  // slot, value
  std::vector<Instruction> instructions;
};

struct Module {
  int version = 0;       // 70 = .version 7.0
  int architecture = 0;  // 80 = .target sm_80
  std::map<std::string, Entry> entries;
};

// Throws Fault that starts with the line.
Module parse(const std::string& text);

}  // namespace mlc::ptx
