// Kernel IR -> LLVM IR -> machine code of AMD's GPUs, in process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/target/target.h"
#include "kernel/ir.h"

namespace mlc::lang {

// A code object as AMD's drivers load it (LLVM's user guide of AMDGPU, "ELF Code Object", version 4), but not
// linked yet (link/code_object.h): a relocatable ELF file with one kernel, its descriptor and its notes,
// called as formats/library.h says (MlcGpuKernel, AMDGPU). It calls nothing and wants none of the hidden
// arguments.
//
// Additions and multiplications of floats are rounded each; divisions and square roots are within 2.5 ulp;
// kShared buffers lie in one array as kernel/shared_layout.h says.
//
// `kernel` is a device function (kernel/ir.h; internal error otherwise) with subgroups of the target's lanes
// or none; `target` one of base/target/rocm.cpp. Threads: may be called concurrently.
std::string emit_amdgpu(const kernel::Function& kernel, const Target& target);

// What the kernel of a code object, linked or not, takes of a GPU, from its notes.
struct AmdgpuResources {
  int vector_registers = 0, scalar_registers = 0;  // of a thread, of a wavefront
  int spilled = 0;                                 // registers of both kinds
  int scratch_bytes = 0;                           // of a thread
  int shared_bytes = 0;                            // of a group
  int group_size = 0;
  int argument_bytes = 0;
};
AmdgpuResources amdgpu_resources(const std::string& code_object);

// The kernel's instructions, a line each, as LLVM spells them.
std::string disassemble_amdgpu(const std::string& code_object);

// A linked code object taken apart, for machines that run its kernel (simulate/amdgpu).
struct AmdgpuCode {
  struct Argument {
    int64_t offset = 0, bytes = 0;
    bool is_address = false;
  };
  struct Instruction {
    int64_t at = 0;    // in bytes from the kernel's entry
    std::string text;  // "v_add_f32_e32 v1, v2, v3"; "" where there is none
  };
  std::string name, architecture;
  int lanes = 0;  // of a wavefront
  AmdgpuResources resources;
  std::vector<Argument> arguments;
  std::string descriptor;  // 64 bytes
  std::vector<Instruction> instructions;
};
AmdgpuCode take_apart_amdgpu(const std::string& code_object);

}  // namespace mlc::lang
