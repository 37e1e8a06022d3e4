// Loads PTX.
#include "runtime/devices/cuda/program.h"

#include "base/strings.h"

namespace mlc::runtime::cuda {
namespace {

// The three lines in front of a module's first declaration: .version, .target, .address_size.
std::string_view without_head(std::string_view ptx) {
  const size_t last = ptx.find(".address_size"), end = ptx.find('\n', last == ptx.npos ? 0 : last);
  return end == ptx.npos ? ptx : ptx.substr(end + 1);
}

std::string first_line(const std::string& log) {
  for (const std::string& line : split(log, '\n'))
    if (std::string text(trim(line)); !text.empty()) return text;
  return "it gave no reason";
}

Status refused(const Api& api, const std::string& gpu, Code code, const std::string& log) {
  std::string why = error_name(api, code);
  if (code == kUnsupportedPtx) why = "the PTX is newer than it";
  if (code == kInvalidPtx || (code != kUnsupportedPtx && !log.empty())) why = first_line(log);
  return Status::error(str("cuda device: the driver refuses the kernels of this library for ", gpu, ": ", why,
                           "; update the driver, or compile with --device cuda of this version of mlc_llm"));
}

}  // namespace

Result<Program> load_program(const Api& api, const std::string& gpu, const MlcLibraryVariant& variant) {
  Program out;
  std::string text;
  for (uint64_t i = 0; i < variant.kernel_count; ++i) {
    ASSIGN_OR_RETURN(GpuKernelView view, read_gpu_kernel(variant.kernels[i], GpuLanguage::kPtx));
    text.append(text.empty() ? view.code : without_head(view.code));
    out.kernels.push_back(view);
  }
  if (out.kernels.empty()) return out;
  std::string log(4096, '\0');
  int names[] = {kJitErrorLog, kJitErrorLogBytes};
  void* values[] = {log.data(), reinterpret_cast<void*>(log.size())};
  if (Code code = api.module_load(&out.module, text.c_str(), 2, names, values); code != kSuccess)
    return refused(api, gpu, code, log.c_str());
  for (const GpuKernelView& kernel : out.kernels) {
    Function function = nullptr;
    const Code code = api.module_function(&function, out.module, std::string(kernel.name).c_str());
    if (code != kSuccess) {
      api.module_unload(out.module);
      return Status::error(str("cuda device: the driver finds no kernel ", kernel.name,
                               " in what it compiled: ", error_name(api, code),
                               "; compile the library again"));
    }
    out.functions.push_back(function);
  }
  return out;
}

}  // namespace mlc::runtime::cuda
