// Kernel IR -> LLVM IR -> machine code of one CPU variant, in process.
#pragma once

#include <string>
#include <vector>

#include "base/target/target.h"
#include "kernel/ir.h"

namespace mlc::lang {

struct ObjectCode {
  std::string object;    // a relocatable ELF file
  std::string llvm_ir;   // text before optimisation, when wanted
  std::string assembly;  // text, when wanted
};

struct EmitOptions {
  bool keep_text = false;     // fill llvm_ir and assembly
  std::string symbol_prefix;  // put before each kernel's name, so that variants can be linked together
};

// Compiles the kernels (legal for the target: kernel/pipeline.h) into one object whose functions are
// symbol_prefix + Function::name, hidden visibility, with no undefined symbol. Threads: may be called concurrently.
// Throws UserError when LLVM has no such target; internal error on invalid IR.
ObjectCode emit_object(const std::vector<kernel::Function>& kernels, const Target& target, const EmitOptions& options);

}  // namespace mlc::lang
