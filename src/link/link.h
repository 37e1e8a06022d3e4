// Objects + a library image -> one artifact. One file per container beside this.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "base/target/host.h"

namespace mlc::link {

// One variant of a library: what MlcLibraryVariant (formats/library.h) will point to, and its machine code.
struct VariantCode {
  std::string header;                // JSON: {"name", "kind", "requires"}
  std::string plan;                  // encode_plan
  std::vector<std::string> objects;  // relocatable objects that define the kernels; none: no machine code
  std::vector<std::string> kernel_symbols;  // in plan order; unique over all variants of a library
  std::vector<std::string> kernel_blobs;    // instead of symbols, for a GPU: gpu_kernel_blob of each kernel
};

struct LinkInput {
  std::string triple;                 // Host::triple (base/target/host.h), which the objects are for
  std::string soname;                 // "model.so"
  std::string manifest;               // JSON text
  std::vector<VariantCode> variants;  // best first; the loader takes the first that the machine can run
  // Static libraries: put before the exported symbol, so that several models can be linked into one program
  // (mlc-facts 1.6). The kernels' symbols are the caller's to make unique.
  std::string symbol_prefix;
};

// The model library for the triple's platform: its container with one exported symbol, manifest and trailer,
// as the bytes of the file. Deterministic: equal inputs give equal bytes. Errors: a platform without a
// container, the linker's first line. Thread-safe (links wait for each other).
Result<std::string> link_library(const LinkInput& input);

// The containers of link_library, a file each: shared objects, DLLs, dylibs, side modules.
Result<std::string> link_elf(const LinkInput& input, const Host& host);
Result<std::string> link_coff(const LinkInput& input, const Host& host);
Result<std::string> link_macho(const LinkInput& input, const Host& host);
Result<std::string> link_wasm(const LinkInput& input);

// A static library: a tar archive (POSIX ustar, no times or owners) of library.o, which defines symbol_prefix
// + mlc_model_library, variantN_M.o and manifest.json. Linked into a program, it is loaded as
// system://PREFIX.
Result<std::string> link_tar(const LinkInput& input);
// The same members as an ar archive with a table of symbols, which linkers take as it is: a .lib of Windows.
Result<std::string> link_ar(const LinkInput& input);

}  // namespace mlc::link
