// Emits a kernel: module, IR, checks, object.
#include "lang/llvm/emit.h"

#include <llvm/Transforms/Utils/Cloning.h>

#include "base/check.h"
#include "base/strings.h"
#include "lang/llvm/common/machine.h"
#include "lang/llvm/cpu/emitter.h"

namespace mlc::lang {
ObjectCode emit_object(const kernel::Function& kernel, const Target& target, const EmitOptions& options) {
  std::unique_ptr<llvm::TargetMachine> machine = make_machine(target);
  llvm::LLVMContext context;
  llvm::Module module(target.name, context);
  module.setTargetTriple(target.triple);
  module.setDataLayout(machine->createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
  CpuEmitter(kernel, target, module, options.symbol_prefix + kernel.name).run();
  verify_module(module);

  ObjectCode code;
  if (options.keep_text) code.llvm_ir = module_text(module);
  optimize(module, *machine);
  if (options.keep_text)
    code.assembly =
        generate(*llvm::CloneModule(module), *machine, llvm::CodeGenFileType::AssemblyFile, code.frame_bytes);
  code.object = generate(module, *machine, llvm::CodeGenFileType::ObjectFile, code.frame_bytes);
  check_self_contained(code.object);
  for (const auto& [symbol, bytes] : code.frame_bytes)
    internal_check(bytes <= kMaxFrameBytes, "kernel ", symbol, " has a stack frame of ", bytes,
                   " bytes, at most ", kMaxFrameBytes, " are allowed: use shared buffers for its tile");
  return code;
}

}  // namespace mlc::lang
