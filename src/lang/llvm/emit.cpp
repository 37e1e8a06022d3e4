// Emits the kernels of one variant: module, IR, checks, object.
#include "lang/llvm/emit.h"

#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Transforms/Utils/Cloning.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

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

ObjectCode emit_object(const std::vector<kernel::Function>& kernels, const Target& target,
                       const EmitOptions& options) {
  std::unique_ptr<llvm::TargetMachine> machine = make_machine(target);
  llvm::LLVMContext context;
  llvm::Module module(target.name, context);
  module.setTargetTriple(target.triple);
  module.setDataLayout(machine->createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
  for (const kernel::Function& kernel : kernels)
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
    internal_check(bytes <= kMaxFrameBytes,
                   str("kernel ", symbol, " has a stack frame of ", bytes, " bytes, at most ", kMaxFrameBytes,
                       " are allowed: use shared buffers for its tile"));
  return code;
}

std::vector<ObjectCode> emit_objects(const std::vector<EmitJob>& jobs, int threads) {
  if (threads <= 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  threads = std::min<int>(threads, static_cast<int>(jobs.size()));
  std::vector<ObjectCode> results(jobs.size());
  std::vector<std::exception_ptr> failures(jobs.size());
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < jobs.size();) {
      try {
        results[i] = emit_object(*jobs[i].kernels, jobs[i].target, jobs[i].options);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  std::vector<std::thread> workers;
  for (int i = 1; i < threads; ++i) workers.emplace_back(work);
  work();
  for (std::thread& worker : workers) worker.join();
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return results;
}

}  // namespace mlc::lang
