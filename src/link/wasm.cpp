// Side modules of WebAssembly: position-independent, they import memory, table and their places in both from
// the program that loads them (WebAssembly/tool-conventions, DynamicLinking.md) and export the library's
// address.
#include "formats/library.h"
#include "formats/library_sections.h"
#include "link/link.h"
#include "link/lld.h"

namespace mlc::link {

Result<std::string> link_wasm(const LinkInput& input) {
  auto arguments = [&](const std::string&, const std::string& output) -> Result<std::vector<std::string>> {
    return std::vector<std::string>{"wasm-ld",
                                    "-shared",
                                    "--experimental-pic",
                                    "--no-entry",
                                    "--gc-sections",
                                    "--strip-all",
                                    "--threads=1",
                                    std::string("--export=") + kLibrarySymbol,
                                    "-o",
                                    output};
  };
  ASSIGN_OR_RETURN(std::string module, run_lld(input, arguments));
  // A module's parts are sections: bytes behind the last one would make it invalid.
  return seal_library(module + wasm_section_header(input.manifest.size()), input.manifest);
}

}  // namespace mlc::link
