// Dylibs of macOS, iOS and Mac Catalyst, signed ad hoc. A signature ends a Mach-O file, so the manifest and
// the trailer are a section (formats/library.h): LLD signs, then the trailer gets its checksum and the pages
// that changed their hashes.
#include <llvm/ADT/ArrayRef.h>
#include <llvm/Support/SHA256.h>
#include <llvm/TargetParser/Triple.h>

#include <algorithm>
#include <cstring>

#include "base/file.h"
#include "base/strings.h"
#include "base/target/host.h"
#include "formats/library.h"
#include "formats/library_sections.h"
#include "link/link.h"
#include "link/lld.h"

namespace mlc::link {
namespace {

struct AppleSystem {
  System system;
  const char* linker_name;
  const char* stub_name;  // in text stubs
};
constexpr AppleSystem kApple[] = {
    {System::kMacos, "macos", "macos"},
    {System::kIos, "ios", "ios"},
    {System::kIosSimulator, "ios-simulator", "ios-simulator"},
    {System::kMacCatalyst, "mac-catalyst", "maccatalyst"},
};

// A stub in the place of an SDK: Apple's loader refuses a library that needs none, so each needs the
// system's.
std::string system_stub(const std::string& arch, const char* system) {
  return str("--- !tapi-tbd\ntbd-version: 4\ntargets: [ ", arch, "-", system,
             " ]\ninstall-name: '/usr/lib/libSystem.B.dylib'\nexports:\n  - targets: [ ", arch, "-", system,
             " ]\n    symbols: [ _free ]\n...\n");
}

Result<std::vector<std::string>> arguments_for(const LinkInput& input, const Host& host,
                                               const std::string& folder, const std::string& output) {
  const std::string arch = host.architecture == "aarch64" ? "arm64" : "x86_64";
  const AppleSystem& apple = *std::find_if(std::begin(kApple), std::end(kApple),
                                           [&](const AppleSystem& a) { return a.system == host.system; });
  const llvm::Triple triple(host.triple);
  llvm::VersionTuple version = triple.getOSVersion();
  std::string number = str(version.getMajor(), ".", version.getMinor().value_or(0));
  const std::string stub = folder + "/libSystem.tbd";
  RETURN_IF_ERROR(write_file(stub, system_stub(arch, apple.stub_name)));
  return std::vector<std::string>{"ld64.lld",
                                  "-dylib",
                                  "-arch",
                                  arch,
                                  "-platform_version",
                                  apple.linker_name,
                                  number,
                                  number,
                                  "-install_name",
                                  "@rpath/" + input.soname,
                                  "-exported_symbol",
                                  str("_", input.symbol_prefix, kLibrarySymbol),
                                  "-dead_strip",
                                  "-adhoc_codesign",
                                  "-no_uuid",
                                  "--threads=1",
                                  "-o",
                                  output,
                                  stub};
}

uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes.at(at + i));
  return value;
}

// The code directory's hashes of pages made anew for the bytes [begin, end) (Apple's cs_blobs.h).
void sign_again(std::string& file, uint64_t signature, size_t begin, size_t end) {
  constexpr uint32_t kCodeDirectory = 0xfade0c02;
  const size_t directory = signature + big_endian(file, signature + 16);  // the first blob's offset
  internal_check(big_endian(file, directory) == kCodeDirectory, "macho: the signature has no code directory");
  const size_t hashes = directory + big_endian(file, directory + 16),
               limit = big_endian(file, directory + 32),
               page = size_t{1} << static_cast<unsigned char>(file.at(directory + 39));
  for (size_t i = begin / page; i * page < end; ++i) {
    const size_t length = std::min(page, limit - i * page);
    auto hash = llvm::SHA256::hash(
        llvm::ArrayRef<uint8_t>(reinterpret_cast<const uint8_t*>(file.data()) + i * page, length));
    std::memcpy(file.data() + hashes + i * hash.size(), hash.data(), hash.size());
  }
}

}  // namespace

Result<std::string> link_macho(const LinkInput& input, const Host& host) {
  ASSIGN_OR_RETURN(std::string file,
                   run_lld(input, [&](const std::string& folder, const std::string& output) {
                     return arguments_for(input, host, folder, output);
                   }));
  MachoParts parts = find_macho_parts(file);
  internal_check(parts.library.size() > sizeof(LibraryTrailer) && parts.signature > 0,
                 "macho: the linker left out the library's section or its signature");
  const size_t end = static_cast<size_t>(parts.library.data() - file.data()) + parts.library.size(),
               begin = end - sizeof(LibraryTrailer);
  LibraryTrailer trailer = section_trailer(parts.signature, input.manifest.size());
  std::memcpy(file.data() + begin, &trailer, sizeof trailer);
  trailer.checksum = checksum64(std::string_view(file).substr(0, parts.signature));
  std::memcpy(file.data() + begin, &trailer, sizeof trailer);
  sign_again(file, parts.signature, begin, end);
  return file;
}

}  // namespace mlc::link
