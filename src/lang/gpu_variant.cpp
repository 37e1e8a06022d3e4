// Emits the kernels of GPU variants.
#include "lang/gpu_variant.h"

#include <algorithm>

#include "base/check.h"
#include "base/strings.h"
#include "formats/library.h"
#include "lang/language.h"

namespace mlc::lang {
namespace {

const Language& language_of(const Target& target) {
  for (const Language* l : languages())
    if (target.kind == l->kind) return *l;
  internal_error("no language is known for target " + target.name);
}

GpuKernelView view_of(const std::string& blob, const Target& target) {
  auto view = read_gpu_kernel(blob.data(), language_of(target).number);
  internal_check(view.is_ok(), "a blob that does not read back");
  return *view;
}

}  // namespace

bool has_gpu_language(const std::string& kind) {
  return std::ranges::any_of(languages(), [&](const Language* l) { return kind == l->kind; });
}

std::string emit_gpu_kernel(const kernel::Function& kernel, const Target& target) {
  const Language& language = language_of(target);
  MlcGpuKernel header{};
  header.language = static_cast<uint32_t>(language.number);
  header.group_size = static_cast<uint32_t>(kernel::thread_count(kernel));
  header.shared_bytes = static_cast<uint32_t>(kernel.scratch_bytes);
  header.buffer_count = static_cast<uint32_t>(kernel.buffers.size());
  header.dim_count = static_cast<uint32_t>(kernel.dims.size());
  for (size_t i = 0; i < kernel.buffers.size(); ++i)
    header.written |= uint32_t{kernel.buffers[i]->writable} << i;
  return gpu_kernel_blob(header, kernel.name, language.emit(kernel, target));
}

Json gpu_limits(const std::vector<std::string>& blobs, const Target& target) {
  uint32_t group = 1, shared = 0;
  for (const std::string& blob : blobs) {
    const MlcGpuKernel header = view_of(blob, target).header;
    group = std::max(group, header.group_size);
    shared = std::max(shared, header.shared_bytes);
  }
  return {{"group_size", group}, {"shared_bytes", shared}};
}

std::string gpu_code_dump(const std::vector<std::string>& blobs, const Target& target) {
  std::string all;
  for (const std::string& blob : blobs)
    all.append(language_of(target).for_people(std::string(view_of(blob, target).code))).append("\n");
  return all;
}

}  // namespace mlc::lang
