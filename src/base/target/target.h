// What a target can do: the description that frontends, schedules and emitters ask instead of a target's name.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace mlc {

struct Target {
  std::string kind;      // "cpu"
  std::string name;      // the variant: "x86_64-generic", "x86_64-avx2", "x86_64-avx512", "x86_64-avx512vnni", "aarch64-..."
  std::string triple;    // LLVM triple
  std::string cpu;       // LLVM CPU name
  std::string features;  // LLVM feature string, "+avx2,+fma"
  // CPU features a machine must have, in the names of host_cpu_features(); the variant's `requires`.
  std::vector<std::string> required;

  int vector_bytes = 16;      // bytes of one vector register
  int vector_registers = 16;  // architectural vector registers
  bool fma = false;           // fused multiply-add of f32
  bool f16_convert = false;   // f16 <-> f32 in hardware
  bool masks = false;         // predicated vector loads and stores
  bool dot4_u8s8 = false;     // u8 x s8 -> i32, four products a lane, no saturation
  bool dot4_s8s8 = false;     // s8 x s8 -> i32, four products a lane
  bool dot2_u8s8 = false;     // u8 x s8 -> i16, two products a lane, saturating (users must prove that it cannot)
  bool dot2_i16 = false;      // i16 x i16 -> i32, two products a lane
  bool mma_s8 = false;        // 2x8 by 8x2 s8 -> i32 matrix product

  int f32_lanes() const { return vector_bytes / 4; }
};

// Every CPU variant we know, best first within an architecture; one file per architecture defines them.
std::vector<Target> x86_64_targets();
std::vector<Target> aarch64_targets();

// Features of the CPU this process runs on, restricted by MLC_CPU_FEATURES: "avx2", "fma", "f16c", "avx512f", "avx512bw",
// "avx512vl", "avx512vnni", "dotprod", "i8mm", ...
const std::vector<std::string>& host_cpu_features();
// The first of `required` that the machine lacks, or "".
std::string missing_cpu_feature(const std::vector<std::string>& required);
// "x86_64" or "aarch64".
std::string host_architecture();

// The variants a library for `host` holds, best first. `host`: "auto" = only the best one this machine runs; a triple
// ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu") = all of that architecture; or a variant's name.
Result<std::vector<Target>> targets_for_host(const std::string& host);

}  // namespace mlc
