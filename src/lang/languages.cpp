// The table of GPU languages: a line each.
#include "lang/language.h"

namespace mlc::lang {

// Each folder defines its own; the declaration stands where it is used, so that a language is named once.
std::span<const Language* const> languages() {
  static const Language* const kAll[] = {
      // keep-sorted start
      [] { const Language& amdgpu_language(); return &amdgpu_language(); }(),
      [] { const Language& cuda_language(); return &cuda_language(); }(),
      [] { const Language& metal_language(); return &metal_language(); }(),
      [] { const Language& opencl_language(); return &opencl_language(); }(),
      [] { const Language& spirv_language(); return &spirv_language(); }(),
      [] { const Language& wgsl_language(); return &wgsl_language(); }(),
      // keep-sorted end
  };
  return kAll;
}

}  // namespace mlc::lang
