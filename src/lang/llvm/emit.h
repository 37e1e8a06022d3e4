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

// Compiles the kernels (legal for the target: kernel/pipeline.h) into one object whose functions are
// symbol_prefix + Function::name, hidden visibility, with no undefined symbol and no frame above
// kMaxFrameBytes. kShared buffers lie in `scratch` as kernel/shared_layout.h says. Threads: may be called
// concurrently. Throws UserError when LLVM has no such target; internal error on invalid or illegal IR.
ObjectCode emit_object(const std::vector<kernel::Function>& kernels, const Target& target,
                       const EmitOptions& options);

struct EmitJob {
  const std::vector<kernel::Function>* kernels = nullptr;
  Target target;
  EmitOptions options;
};

// emit_object for every job, on up to `threads` threads (0: one per core). Results in the order of the jobs;
// the first job's exception, if any, is thrown on.
std::vector<ObjectCode> emit_objects(const std::vector<EmitJob>& jobs, int threads = 0);

}  // namespace mlc::lang
