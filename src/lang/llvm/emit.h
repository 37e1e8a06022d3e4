// Kernel IR -> LLVM IR -> machine code of one CPU variant, in process.
//
// The code runs in the order the kernel says: nothing here or in the code generator reassociates, contracts,
// moves accumulators out of loops or calls a library. See docs of the passes in machine.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/target/target.h"
#include "kernel/ir.h"

namespace mlc::lang {

// The largest stack frame a kernel may have: threads of any host give at least this, and Windows needs no
// probe below.
inline constexpr int64_t kMaxFrameBytes = 4096;

struct ObjectCode {
  std::string object;                          // a relocatable ELF file
  std::string llvm_ir;                         // text before optimisation, when wanted
  std::string assembly;                        // text with the code generator's notes (spills), when wanted
  std::map<std::string, int64_t> frame_bytes;  // stack frame of each symbol that has one
};

struct EmitOptions {
  bool keep_text = false;     // fill llvm_ir and assembly
  std::string symbol_prefix;  // put before each kernel's name, so that variants can be linked together
};

// Compiles a kernel (legal for the target: kernel/pipeline.h) into an object whose function is symbol_prefix
// + Function::name, of hidden visibility, with no undefined symbol and no frame above kMaxFrameBytes. kShared
// buffers lie in `scratch` as kernel/shared_layout.h says. Kernels are compiled one by one because they share
// nothing and cores can then share them. Threads: may be called concurrently. Throws UserError when LLVM has
// no such target; internal error on invalid or illegal IR.
ObjectCode emit_object(const kernel::Function& kernel, const Target& target, const EmitOptions& options);

}  // namespace mlc::lang
