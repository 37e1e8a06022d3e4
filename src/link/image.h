// The library image: an object file that defines `mlc_model_library` (formats/library.h) and all that it
// points to.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "link/link.h"

namespace mlc::link {

// A relocatable object for the input's triple with one visible symbol, symbol_prefix + kLibrarySymbol; it
// refers to the variants' kernel symbols as hidden ones. Errors: LLVM has no such target.
Result<std::string> make_image(const LinkInput& input);

// Name and bytes of each member of a static library: library.o, which is the image, the variants' objects and
// manifest.json.
Result<std::vector<std::pair<std::string, std::string>>> archive_members(const LinkInput& input);

// File name of a variant's object: "variant0_12.o".
inline std::string object_name(size_t variant, size_t object) {
  return "variant" + std::to_string(variant) + "_" + std::to_string(object) + ".o";
}

}  // namespace mlc::link
