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

}  // namespace

bool has_gpu_language(const std::string& kind) {
  return std::ranges::any_of(languages(), [&](const Language* l) { return kind == l->kind; });
}

std::vector<std::string> gpu_kernel_blobs(const std::vector<kernel::Function>& kernels,
                                          const Target& target) {
  const Language& language = language_of(target);
  std::vector<std::string> blobs;
  for (const kernel::Function& f : kernels) {
    MlcGpuKernel header{};
    header.language = static_cast<uint32_t>(language.number);
    header.group_size = static_cast<uint32_t>(kernel::thread_count(f));
    header.shared_bytes = static_cast<uint32_t>(f.scratch_bytes);
    header.buffer_count = static_cast<uint32_t>(f.buffers.size());
    header.dim_count = static_cast<uint32_t>(f.dims.size());
    for (size_t i = 0; i < f.buffers.size(); ++i) header.written |= uint32_t{f.buffers[i]->writable} << i;
    blobs.push_back(gpu_kernel_blob(header, f.name, language.emit(f, target)));
  }
  return blobs;
}

Json gpu_limits(const std::vector<kernel::Function>& kernels) {
  int64_t group = 1, shared = 0;
  for (const kernel::Function& f : kernels) {
    group = std::max(group, kernel::thread_count(f));
    shared = std::max(shared, f.scratch_bytes);
  }
  return {{"group_size", group}, {"shared_bytes", shared}};
}

std::string gpu_code_dump(const std::vector<std::string>& blobs, const Target& target) {
  std::string all;
  for (const std::string& blob : blobs) {
    auto view = read_gpu_kernel(blob.data(), language_of(target).number);
    internal_check(view.is_ok(), "a blob that does not read back");
    all.append(language_of(target).for_people(std::string(view->code))).append("\n");
  }
  return all;
}

}  // namespace mlc::lang
