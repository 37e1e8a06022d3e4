// What a target can do: the description that frontends, schedules and emitters ask instead of a target's
// name.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace mlc {

// A matrix product in registers: C [rows, columns] += A [rows, depth] B [depth, columns], 16-bit floats into
// f32. On GPUs a subgroup computes it together, of f16; on CPUs one thread does, of bf16.
struct MatrixUnit {
  int rows = 0, columns = 0, depth = 0;  // 0: none
  std::string text() const;              // "16x16x16": rows x columns x depth
};

struct Target {
  std::string kind;  // "cpu", "vulkan", "metal", ...: the device that runs it, and its language
  std::string
      name;  // the variant: "x86_64-generic", "x86_64-avx512vnni", "aarch64-...", "vulkan-nvidia", ...
  std::string triple;    // LLVM triple of code that LLVM makes
  std::string cpu;       // LLVM CPU name
  std::string features;  // LLVM feature string, "+avx2,+fma"
  // What a machine must have, the variant's `requires`. CPUs: names of host_cpu_features(). GPUs:
  // "subgroups_32" (exactly that many lanes, with arithmetic and shuffles), "vendor_nvidia" and its like,
  // "software" (a CPU), "sm_80" (reads its PTX), "matrix_f16_16x16x16" (a matrix_unit of that shape).
  std::vector<std::string> required;

  int vector_bytes = 16;      // bytes of one vector register
  int vector_registers = 16;  // architectural vector registers
  bool fma = false;           // fused multiply-add of f32
  bool f16_convert = false;   // f16 <-> f32 in hardware
  bool dot4_u8s8 = false;     // u8 x s8 -> i32, four products a lane, no saturation
  bool dot4_s8s8 = false;     // s8 x s8 -> i32, four products a lane
  bool dot2_u8s8 =
      false;              // u8 x s8 -> i16, two products a lane, saturating (users must prove that it cannot)
  bool dot2_i16 = false;  // i16 x i16 -> i32, two products a lane
  bool bf16_convert = false;  // f32 -> bf16 in hardware
  MatrixUnit matrix_unit;     // f16 or bf16 into f32

  // Pages of the cache that one part of a single row's attention covers, where its heads alone are too little
  // work for the machine (graph/passes/split_attention.h); 0: never split. 16 pages are 256 tokens: on a CPU
  // some 10 us of work per key/value head, far more than a launch costs.
  int64_t attention_part_pages = 16;

  // GPUs only; a limit is what variants of this kind may use, not what one machine has.
  std::string
      device_class;       // whose rows of the schedule tables serve it: "nvidia", ..., "software", "generic"
  int max_threads = 0;    // of a group; 0: no GPU
  int subgroup_size = 0;  // lanes that exchange values; 0: not offered
  int64_t shared_bytes = 0;       // memory of a group
  int64_t max_binding_bytes = 0;  // of one buffer of a call
  bool native_math = false;       // emit exp and its like as calls of the device's language

  bool is_gpu() const { return max_threads > 0; }
  int f32_lanes() const { return vector_bytes / 4; }
};

// The variants of a library for a GPU, best first; the last ones run on every device of the kind. `device`:
// "cuda", "metal", "vulkan", ... = what covers most machines; "vulkan-nvidia", "cuda-sm86", ... = one class
// of device and what every device runs.
Result<std::vector<Target>> targets_for_device(const std::string& device);
// Every name that targets_for_device() knows.
std::vector<std::string> gpu_device_names();

// Every CPU variant we know, best first within an architecture; one file per architecture defines them.
std::vector<Target> x86_64_targets();
std::vector<Target> aarch64_targets();

// Features of the CPU this process runs on, restricted by MLC_CPU_FEATURES: "avx2", "fma", "f16c", "avx512f",
// "avx512bw", "avx512vl", "avx512vnni", "amx_bf16", "dotprod", "i8mm", ...
const std::vector<std::string>& host_cpu_features();
// The first of `required` that the machine lacks, or "".
std::string missing_cpu_feature(const std::vector<std::string>& required);
// "x86_64" or "aarch64".
std::string host_architecture();

// The variants a library for `host` holds, best first. `host`: "auto" = only the best one this machine runs;
// a triple
// ("x86_64-unknown-linux-gnu", "arm64-apple-darwin", host.h) = all of that architecture; or a variant's name.
Result<std::vector<Target>> targets_for_host(const std::string& host);

}  // namespace mlc
