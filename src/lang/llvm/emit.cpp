// Emits a kernel: module, IR, checks, object.
#include "lang/llvm/emit.h"

#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Transforms/Utils/Cloning.h>

#include "base/check.h"
#include "base/strings.h"
#include "lang/llvm/emitter.h"
#include "lang/llvm/machine.h"

namespace mlc::lang {
namespace {

std::string text_of(const llvm::Module& module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, nullptr);
  return text;
}

void verify(const llvm::Module& module) {
  std::string problem;
  llvm::raw_string_ostream stream(problem);
  if (llvm::verifyModule(module, &stream)) internal_error("emitter: invalid LLVM IR: " + problem);
}

}  // namespace

ObjectCode emit_object(const kernel::Function& kernel, const Target& target, const EmitOptions& options) {
  std::unique_ptr<llvm::TargetMachine> machine = make_machine(target);
  llvm::LLVMContext context;
  llvm::Module module(target.name, context);
  module.setTargetTriple(target.triple);
  module.setDataLayout(machine->createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
  FunctionEmitter(kernel, target, module, options.symbol_prefix + kernel.name).run();
  verify(module);

  ObjectCode code;
  if (options.keep_text) code.llvm_ir = text_of(module);
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
