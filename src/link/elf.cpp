// ELF shared objects of Linux and Android.
#include "base/target/host.h"
#include "formats/library.h"
#include "link/link.h"
#include "link/lld.h"

namespace mlc::link {

Result<std::string> link_elf(const LinkInput& input, const Host& host) {
  auto arguments = [&](const std::string&, const std::string& output) -> Result<std::vector<std::string>> {
    std::vector<std::string> all = {"ld.lld",
                                    "-m",
                                    host.architecture == "aarch64" ? "aarch64linux" : "elf_x86_64",
                                    "-shared",
                                    "-soname",
                                    input.soname,
                                    "-z",
                                    "now",
                                    "-z",
                                    "relro",
                                    "-z",
                                    "noexecstack",
                                    "-z",
                                    "defs",
                                    "-Bsymbolic",
                                    "--gc-sections",
                                    "--hash-style=gnu",
                                    "--build-id=none",
                                    "--threads=1"};
    // Android 15 loads libraries on machines with pages of 16 KiB.
    if (host.system == System::kAndroid) all.insert(all.end(), {"-z", "max-page-size=16384"});
    all.insert(all.end(), {"-o", output});
    return all;
  };
  ASSIGN_OR_RETURN(std::string object, run_lld(input, arguments));
  return seal_library(std::move(object), input.manifest);
}

}  // namespace mlc::link
