// Chooses the container for a platform.
#include "link/link.h"

#include "base/strings.h"

namespace mlc::link {

Result<std::string> link_library(const LinkInput& input) {
  if (input.triple.find("linux") != std::string::npos) return link_elf(input);
  return Status::error(
      str("--host: no library container for '", input.triple,
          "', expected a Linux triple such as x86_64-unknown-linux-gnu; choose another host"));
}

}  // namespace mlc::link
