// Static libraries: objects in an ar archive with a table of symbols, as LLVM writes it.
#include <llvm/Object/ArchiveWriter.h>
#include <llvm/Support/MemoryBuffer.h>

#include "base/strings.h"
#include "link/image.h"
#include "link/link.h"

namespace mlc::link {

Result<std::string> link_ar(const LinkInput& input) {
  ASSIGN_OR_RETURN(Host host, parse_host(input.triple));
  ASSIGN_OR_RETURN(auto members, archive_members(input));
  std::vector<llvm::NewArchiveMember> all;
  for (const auto& [name, bytes] : members) all.emplace_back(llvm::MemoryBufferRef(bytes, name));
  const auto kind = host.system == System::kWindows ? llvm::object::Archive::K_COFF
                    : host.is_apple()               ? llvm::object::Archive::K_DARWIN
                                                    : llvm::object::Archive::K_GNU;
  auto archive = llvm::writeArchiveToBuffer(all, llvm::SymtabWritingMode::NormalSymtab, kind,
                                            /*Deterministic=*/true, /*Thin=*/false);
  if (!archive) return Status::error(str("link: ", llvm::toString(archive.takeError())));
  return (*archive)->getBuffer().str();
}

}  // namespace mlc::link
