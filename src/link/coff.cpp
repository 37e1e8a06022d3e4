// DLLs of Windows: PE files that need no other one. What follows the last section is not mapped, so the
// manifest and the trailer lie there, as in ELF.
#include "base/strings.h"
#include "base/target/host.h"
#include "formats/library.h"
#include "link/link.h"
#include "link/lld.h"

namespace mlc::link {

Result<std::string> link_coff(const LinkInput& input, const Host& host) {
  auto arguments = [&](const std::string&, const std::string& output) -> Result<std::vector<std::string>> {
    return std::vector<std::string>{"lld-link",
                                    "/dll",
                                    "/noentry",
                                    "/nodefaultlib",
                                    "/noimplib",
                                    "/Brepro",  // no time in the file
                                    "/opt:ref",
                                    "/threads:1",
                                    str("/machine:", host.architecture == "aarch64" ? "arm64" : "x64"),
                                    str("/export:", input.symbol_prefix, kLibrarySymbol, ",DATA"),
                                    str("/out:", output)};
  };
  ASSIGN_OR_RETURN(std::string object, run_lld(input, arguments));
  return seal_library(std::move(object), input.manifest);
}

}  // namespace mlc::link
