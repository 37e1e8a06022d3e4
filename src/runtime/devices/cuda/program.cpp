// Loads PTX and code objects.
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
  const char* kind = api.vendor->kind;
  return Status::error(str(kind, " device: the driver refuses the kernels of this library for ", gpu, ": ",
                           why, "; update the driver, or compile with --device ", kind,
                           " of this version of mlc_llm"));
}

// A module whose code is `image`: text with a zero byte at its end, or a code object.
Status add_module(const Api& api, const std::string& gpu, const char* image, Program& out) {
  std::string log(4096, '\0');
  int names[] = {kJitErrorLog, kJitErrorLogBytes};
  void* values[] = {log.data(), reinterpret_cast<void*>(log.size())};
  CodeModule module = nullptr;
  const Code code = api.module_load(&module, image, api.vendor->hip ? 0 : 2, names, values);
  if (code != kSuccess) return refused(api, gpu, code, api.vendor->hip ? "" : log.c_str());
  out.modules.push_back(module);
  return Status::ok();
}

Status add_function(const Api& api, const GpuKernelView& kernel, Program& out) {
  Function function = nullptr;
  const Code code = api.module_function(&function, out.modules.back(), std::string(kernel.name).c_str());
  out.functions.push_back(function);
  if (code == kSuccess) return Status::ok();
  return Status::error(str(api.vendor->kind, " device: the driver finds no kernel ", kernel.name,
                           " in what it compiled: ", error_name(api, code), "; compile the library again"));
}

Status fill(const Api& api, const std::string& gpu, const MlcLibraryVariant& variant, Program& out) {
  const GpuLanguage language = api.vendor->hip ? GpuLanguage::kAmdgpu : GpuLanguage::kPtx;
  std::string text;
  for (uint64_t i = 0; i < variant.kernel_count; ++i) {
    ASSIGN_OR_RETURN(GpuKernelView view, read_gpu_kernel(variant.kernels[i], language));
    out.kernels.push_back(view);
    if (!api.vendor->hip) {
      text.append(text.empty() ? view.code : without_head(view.code));
      continue;
    }
    RETURN_IF_ERROR(add_module(api, gpu, view.code.data(), out));
    RETURN_IF_ERROR(add_function(api, view, out));
  }
  if (text.empty()) return Status::ok();
  RETURN_IF_ERROR(add_module(api, gpu, text.c_str(), out));
  for (const GpuKernelView& kernel : out.kernels) RETURN_IF_ERROR(add_function(api, kernel, out));
  return Status::ok();
}

}  // namespace

Result<Program> load_program(const Api& api, const std::string& gpu, const MlcLibraryVariant& variant) {
  Program out;
  if (Status filled = fill(api, gpu, variant, out); !filled.is_ok()) {
    unload_program(api, out);
    return filled;
  }
  return out;
}

void unload_program(const Api& api, const Program& program) {
  for (CodeModule module : program.modules) api.module_unload(module);
}

}  // namespace mlc::runtime::cuda
