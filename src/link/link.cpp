// Chooses the container for a platform.
#include "link/link.h"

#include "base/target/host.h"

namespace mlc::link {

Result<std::string> link_library(const LinkInput& input) {
  ASSIGN_OR_RETURN(Host host, parse_host(input.triple));
  if (host.is_apple()) return link_macho(input, host);
  if (host.system == System::kWeb) return link_wasm(input);
  return host.system == System::kWindows ? link_coff(input, host) : link_elf(input, host);
}

}  // namespace mlc::link
