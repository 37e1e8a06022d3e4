// LLVM module -> object file: the target machine, our short pass pipeline, the checks on what comes out.
#pragma once

#include <llvm/IR/Module.h>
#include <llvm/IR/PassManager.h>
#include <llvm/Target/TargetMachine.h>

#include <map>
#include <memory>
#include <string>

#include "base/target/target.h"

namespace mlc::lang {

// Throws UserError when this LLVM lacks the triple. Not shared between threads.
std::unique_ptr<llvm::TargetMachine> make_machine(const Target& target);

// The module as text; internal error when it is invalid.
std::string module_text(const llvm::Module& module);
void verify_module(const llvm::Module& module);

// Promotes register buffers and removes redundant arithmetic; keeps the order of everything else.
void optimize(llvm::Module& module, llvm::TargetMachine& machine);

// hoist.cpp: moves scalar index arithmetic out of loops, nothing else. Wants loops with preheaders.
struct HoistIndicesPass : llvm::PassInfoMixin<HoistIndicesPass> {
  llvm::PreservedAnalyses run(llvm::Function& function, llvm::FunctionAnalysisManager& analyses);
};

// Generates code; changes the module. `frames` receives the stack bytes of each function that has a frame.
// `reorder`: instructions of a block may be put in another order, which GPUs want that hide no latency
// themselves.
std::string generate(llvm::Module& module, llvm::TargetMachine& machine, llvm::CodeGenFileType type,
                     std::map<std::string, int64_t>& frames, bool reorder = false);

// Internal error naming any symbol that the object needs from elsewhere.
void check_self_contained(const std::string& object);

}  // namespace mlc::lang
