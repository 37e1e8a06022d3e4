// Emits a kernel: module, IR, PTX.
#include <map>

#include "base/check.h"
#include "base/strings.h"
#include "kernel/verify.h"
#include "lang/language.h"
#include "lang/llvm/common/machine.h"
#include "lang/llvm/emit_ptx.h"
#include "lang/llvm/nvptx/emitter.h"

namespace mlc::lang {
namespace {

// A driver compiles what a library holds; comments are for people.
std::string without_comments(const std::string& text) {
  std::string out;
  for (const std::string& line : split(text, '\n')) {
    std::string_view code = std::string_view(line).substr(0, line.find("//"));
    while (!code.empty() && (code.back() == ' ' || code.back() == '\t')) code.remove_suffix(1);
    if (!code.empty()) out.append(code).append("\n");
  }
  return out;
}

}  // namespace

std::string emit_ptx(const kernel::Function& kernel, const Target& target) {
  std::string problem = kernel::verify_device(kernel);
  internal_check(problem.empty(), "PTX emitter: kernel ", kernel.name, ": ", problem);
  std::unique_ptr<llvm::TargetMachine> machine = make_machine(target);
  llvm::LLVMContext context;
  llvm::Module module(kernel.name, context);
  module.setTargetTriple(target.triple);
  module.setDataLayout(machine->createDataLayout());
  PtxEmitter(kernel, target, module).run();
  verify_module(module);
  optimize(module, *machine);
  std::map<std::string, int64_t> frames;
  std::string text =
      without_comments(generate(module, *machine, llvm::CodeGenFileType::AssemblyFile, frames));
  internal_check(text.find("__local_depot") == std::string::npos, "kernel ", kernel.name,
                 " keeps registers in memory: their indices are no constants");
  return text;
}

const Language& cuda_language() {
  static const Language language = {"cuda", GpuLanguage::kPtx, emit_ptx, as_it_is};
  return language;
}

}  // namespace mlc::lang
