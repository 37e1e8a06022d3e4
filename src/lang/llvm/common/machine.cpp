// Target machines and pipelines. What is left out matters as much as what runs: `reassociate` and the machine
// combiner turn a chain of adds round, LICM moves accumulators from memory into registers, the pre-RA
// scheduler adds spills to a full register tile, loop-idiom and the vectorizers insert calls or other shapes.
// Each costs up to half the speed of the int8 kernels (on the 16-register tile of tests/emit: 0 vector spills
// as it is, 5 with the scheduler, 26 with the combiner, 41 with both). The code generator's passes are
// switched off per pipeline, not by LLVM's global command-line options: the linker resets those while other
// threads compile.
#include "lang/llvm/common/machine.h"

#include <llvm/CodeGen/MachineModuleInfo.h>
#include <llvm/CodeGen/Passes.h>
#include <llvm/CodeGen/TargetPassConfig.h>
#include <llvm/IR/DiagnosticInfo.h>
#include <llvm/IR/DiagnosticPrinter.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Object/ObjectFile.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/SmallVectorMemoryBuffer.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Transforms/Scalar/ADCE.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/InstSimplifyPass.h>
#include <llvm/Transforms/Scalar/SROA.h>
#include <llvm/Transforms/Scalar/SimplifyCFG.h>
#include <llvm/Transforms/Utils/LoopSimplify.h>

#include <mutex>

#include "base/check.h"
#include "base/strings.h"
#include "base/user_error.h"

namespace mlc::lang {
namespace {

void initialize_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeAllTargetInfos();
    llvm::InitializeAllTargets();
    llvm::InitializeAllTargetMCs();
    llvm::InitializeAllAsmPrinters();
  });
}

// Collects the frame sizes that "warn-stack-size" reports; any error of the code generator is our bug.
class Diagnostics : public llvm::DiagnosticHandler {
 public:
  explicit Diagnostics(std::map<std::string, int64_t>& frames) : frames_(frames) {}
  bool handleDiagnostics(const llvm::DiagnosticInfo& info) override {
    if (info.getKind() == llvm::DK_StackSize) {
      const auto& stack = static_cast<const llvm::DiagnosticInfoStackSize&>(info);
      frames_[stack.getFunction().getName().str()] = static_cast<int64_t>(stack.getStackSize());
      return true;
    }
    if (info.getSeverity() != llvm::DS_Error) return true;
    std::string text;
    llvm::raw_string_ostream stream(text);
    llvm::DiagnosticPrinterRawOStream printer(stream);
    info.print(printer);
    internal_error("code generator: " + text);
  }

 private:
  std::map<std::string, int64_t>& frames_;
};

}  // namespace

std::unique_ptr<llvm::TargetMachine> make_machine(const Target& target) {
  initialize_llvm();
  std::string error;
  const llvm::Target* llvm_target = llvm::TargetRegistry::lookupTarget(target.triple, error);
  if (!llvm_target)
    throw UserError(str("--host: this build has no code generator for '", target.triple, "' (", error,
                        "); choose another host or a build of mlc_llm with that LLVM target"));
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;
  options.FunctionSections = options.DataSections = true;
  options.MCOptions.AsmVerbose = true;
  return std::unique_ptr<llvm::TargetMachine>(
      llvm_target->createTargetMachine(target.triple, target.cpu, target.features, options, llvm::Reloc::PIC_,
                                       llvm::CodeModel::Small, llvm::CodeGenOptLevel::Aggressive));
}

std::string module_text(const llvm::Module& module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, nullptr);
  return text;
}

void verify_module(const llvm::Module& module) {
  std::string problem;
  llvm::raw_string_ostream stream(problem);
  if (llvm::verifyModule(module, &stream)) internal_error("emitter: invalid LLVM IR: " + problem);
}

void optimize(llvm::Module& module, llvm::TargetMachine& machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  llvm::FunctionPassManager passes;
  passes.addPass(llvm::SROAPass(llvm::SROAOptions::PreserveCFG));
  passes.addPass(llvm::EarlyCSEPass(/*UseMemorySSA=*/true));
  passes.addPass(llvm::InstSimplifyPass());
  passes.addPass(llvm::ADCEPass());
  passes.addPass(llvm::SimplifyCFGPass());
  passes.addPass(llvm::LoopSimplifyPass());
  passes.addPass(HoistIndicesPass());
  for (llvm::Function& function : module)
    if (!function.isDeclaration()) passes.run(function, functions);
}

std::string generate(llvm::Module& module, llvm::TargetMachine& machine, llvm::CodeGenFileType type,
                     std::map<std::string, int64_t>& frames, bool reorder) {
  module.getContext().setDiagnosticHandler(std::make_unique<Diagnostics>(frames));
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  auto& machine_with_mir = static_cast<llvm::LLVMTargetMachine&>(machine);
  auto* information = new llvm::MachineModuleInfoWrapperPass(&machine_with_mir);  // owned by `passes`
  llvm::TargetPassConfig* config = machine_with_mir.createPassConfig(passes);
  config->setDisableVerify(true);
  if (!reorder) config->disablePass(&llvm::MachineSchedulerID);
  config->disablePass(&llvm::MachineCombinerID);
  passes.add(config);
  passes.add(information);
  internal_check(!config->addISelPasses(), "code generator: no instruction selector");
  config->addMachinePasses();
  config->setInitialized();
  internal_check(
      !machine_with_mir.addAsmPrinter(passes, stream, nullptr, type, information->getMMI().getContext()),
      "code generator: no printer for this file type");
  passes.add(llvm::createFreeMachineFunctionPass());
  passes.run(module);
  return std::string(bytes.data(), bytes.size());
}

namespace {

// What whoever loads a side module of WebAssembly gives it (WebAssembly/tool-conventions, DynamicLinking.md).
bool is_of_side_modules(llvm::StringRef name) {
  return name == "__stack_pointer" || name == "__memory_base" || name == "__table_base" ||
         name == "__indirect_function_table";
}

}  // namespace

void check_self_contained(const std::string& object) {
  auto file = llvm::object::ObjectFile::createObjectFile(llvm::MemoryBufferRef(object, "kernels"));
  internal_check(static_cast<bool>(file), "code generator: the object cannot be read back");
  for (const llvm::object::SymbolRef& symbol : (*file)->symbols()) {
    auto flags = symbol.getFlags();
    auto name = symbol.getName();
    internal_check(flags && name, "code generator: a symbol of the object cannot be read back");
    if (file->get()->isWasm() && is_of_side_modules(*name)) continue;
    if (!name->empty() && (*flags & llvm::object::SymbolRef::SF_Undefined))
      internal_error(
          str("a kernel calls '", name->str(), "': legalize or the emitter must expand that operation"));
  }
}

}  // namespace mlc::lang
