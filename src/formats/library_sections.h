// Where a model library's own data lies in files that end otherwise: the section of a Mach-O or
// WebAssembly file, the members of an archive. All parts are views into the given bytes; foreign bytes give
// empty ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "formats/library.h"

namespace mlc {

// Segment and section of a dylib that hold the manifest, then a LibraryTrailer (library.h).
inline constexpr const char* kMachoSegment = "__TEXT";
inline constexpr const char* kMachoSection = "__mlc_library";

// The custom section of a WebAssembly module that holds the manifest, then a LibraryTrailer. It is the last
// one, so that the file ends as others do.
inline constexpr std::string_view kWasmSection = "mlc_library";
// What stands before a manifest of that many bytes there: the section's number, length and name.
std::string wasm_section_header(uint64_t manifest_bytes);

struct MachoParts {
  std::string_view library;  // the section
  uint64_t signature = 0;    // offset of the code signature, 0 without one
};
MachoParts find_macho_parts(std::string_view file);

// What holds the library, by its first bytes: "ELF", "PE", "Mach-O", "wasm", "tar", "ar"; "" for anything
// else.
std::string_view container_of(std::string_view file);
inline bool is_archive(std::string_view container) { return container == "tar" || container == "ar"; }

// The trailer inside of a file whose first `covered` bytes its checksum covers, with the checksum 0.
LibraryTrailer section_trailer(uint64_t covered, uint64_t manifest_bytes);

// The bytes of a member of a tar (POSIX ustar) or ar archive; empty where there is none.
std::string_view find_member(std::string_view archive, std::string_view name);

}  // namespace mlc
