// Emits a kernel: module, IR, PTX.
#include "base/check.h"
#include "base/strings.h"
#include "lang/language.h"
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
  const auto emit = [](const kernel::Function& k, const Target& t, llvm::Module& m) {
    PtxEmitter(k, t, m).run();
  };
  const std::string text = without_comments(
      generate_gpu_kernel(kernel, target, emit, llvm::CodeGenFileType::AssemblyFile, /*reorder=*/false));
  internal_check(text.find("__local_depot") == std::string::npos, "kernel ", kernel.name,
                 " keeps registers in memory: their indices are no constants");
  return text;
}

const Language& cuda_language() {
  static const Language language = {"cuda", GpuLanguage::kPtx, emit_ptx, as_it_is};
  return language;
}

}  // namespace mlc::lang
