// Emits a kernel: module, IR, code object.
#include "lang/language.h"
#include "lang/llvm/amdgpu/emitter.h"
#include "lang/llvm/emit_amdgpu.h"

namespace mlc::lang {

std::string emit_amdgpu(const kernel::Function& kernel, const Target& target) {
  const auto emit = [](const kernel::Function& k, const Target& t, llvm::Module& m) {
    AmdgpuEmitter(k, t, m).run();
  };
  return generate_gpu_kernel(kernel, target, emit, llvm::CodeGenFileType::ObjectFile, /*reorder=*/true);
}

const Language& amdgpu_language() {
  static const Language language = {"rocm", GpuLanguage::kAmdgpu, emit_amdgpu, disassemble_amdgpu};
  return language;
}

}  // namespace mlc::lang
