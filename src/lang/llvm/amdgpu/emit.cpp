// Emits a kernel: module, IR, code object.
#include <map>

#include "base/check.h"
#include "kernel/verify.h"
#include "lang/language.h"
#include "lang/llvm/amdgpu/emitter.h"
#include "lang/llvm/common/machine.h"
#include "lang/llvm/emit_amdgpu.h"

namespace mlc::lang {

std::string emit_amdgpu(const kernel::Function& kernel, const Target& target) {
  std::string problem = kernel::verify_device(kernel);
  internal_check(problem.empty(), "AMDGPU emitter: kernel ", kernel.name, ": ", problem);
  std::unique_ptr<llvm::TargetMachine> machine = make_machine(target);
  llvm::LLVMContext context;
  llvm::Module module(kernel.name, context);
  module.setTargetTriple(target.triple);
  module.setDataLayout(machine->createDataLayout());
  AmdgpuEmitter(kernel, target, module).run();
  verify_module(module);
  optimize(module, *machine);
  std::map<std::string, int64_t> frames;
  return generate(module, *machine, llvm::CodeGenFileType::ObjectFile, frames, /*reorder=*/true);
}

const Language& amdgpu_language() {
  static const Language language = {"rocm", GpuLanguage::kAmdgpu, emit_amdgpu, disassemble_amdgpu};
  return language;
}

}  // namespace mlc::lang
