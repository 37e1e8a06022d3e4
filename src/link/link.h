// Objects + a library image -> one artifact. One file per container beside this.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace mlc::link {

struct VariantCode {
  std::string object;                     // relocatable object of this variant's kernels
  std::vector<std::string> kernel_symbols;  // in kernel-index order
};

struct LinkInput {
  std::string triple;
  std::string soname;
  std::string manifest;                 // JSON text
  std::vector<std::string> variants;    // per variant: the encoded VariantHeader + plan (formats/library.h)
  std::vector<VariantCode> code;        // same order
};

// A shared library for the triple's ELF platform that exports exactly `mlc_model_library` and imports nothing; ends with
// the trailer of formats/library.h. Returns the file's bytes. Errors: the linker's first line.
Result<std::string> link_elf(const LinkInput& input);

}  // namespace mlc::link
