// Reads as little of Mach-O, ustar and ar as leads to a library's data, with every length checked.
#include "formats/library_sections.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace mlc {
namespace {

// A number at `at`, 0 past the end.
template <typename T>
T number_at(std::string_view bytes, uint64_t at) {
  T value{};
  if (at <= bytes.size() && bytes.size() - at >= sizeof(T)) std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

// At most `bytes` from `at`, nothing past the end.
std::string_view part_at(std::string_view file, uint64_t at, uint64_t bytes) {
  return at <= file.size() && bytes <= file.size() - at ? file.substr(at, bytes) : std::string_view();
}

// Whether the field of 16 bytes at `at` is `name`, padded with zeros.
bool named(std::string_view file, uint64_t at, std::string_view name) {
  std::string_view field = part_at(file, at, 16);
  return field.starts_with(name) && field.find_first_not_of('\0', name.size()) == std::string_view::npos;
}

// A number in text, as archives write it; npos when it is none.
uint64_t text_number(std::string_view text, int base) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end != text.data() ? value : UINT64_MAX;
}

}  // namespace

// Mach-O headers and load commands: <mach-o/loader.h> of Apple's xnu.
MachoParts find_macho_parts(std::string_view file) {
  constexpr uint32_t kMagic = 0xfeedfacf, kSegment = 0x19, kCodeSignature = 0x1d;
  constexpr uint64_t kHeader = 32, kSegmentHeader = 72, kSectionHeader = 80;
  MachoParts parts;
  if (number_at<uint32_t>(file, 0) != kMagic) return parts;
  uint64_t at = kHeader;
  for (uint32_t left = number_at<uint32_t>(file, 16); left > 0; --left) {
    const auto command = number_at<uint32_t>(file, at), size = number_at<uint32_t>(file, at + 4);
    if (size < 8 || size > file.size() - at) break;
    if (command == kCodeSignature) parts.signature = number_at<uint32_t>(file, at + 8);
    if (command == kSegment && named(file, at + 8, kMachoSegment)) {
      const uint64_t sections = std::min<uint64_t>(number_at<uint32_t>(file, at + 64), size / kSectionHeader);
      for (uint64_t i = 0; i < sections; ++i) {
        const uint64_t section = at + kSegmentHeader + i * kSectionHeader;
        if (named(file, section, kMachoSection))
          parts.library =
              part_at(file, number_at<uint32_t>(file, section + 48), number_at<uint64_t>(file, section + 40));
      }
    }
    at += size;
  }
  return parts;
}

// Core specification 2.0, 5.5: number 0, the length in LEB128, here always of five bytes, and the name.
std::string wasm_section_header(uint64_t manifest_bytes) {
  uint64_t length = 1 + kWasmSection.size() + manifest_bytes + sizeof(LibraryTrailer);
  std::string header(1, '\0');
  for (int i = 0; i < 5; ++i, length >>= 7)
    header.push_back(static_cast<char>((length & 0x7f) | (i < 4 ? 0x80 : 0)));
  header.push_back(static_cast<char>(kWasmSection.size()));
  return header.append(kWasmSection);
}

std::string_view container_of(std::string_view file) {
  if (file.starts_with("\x7f"
                       "ELF"))
    return "ELF";
  if (file.starts_with("MZ")) return "PE";
  if (file.starts_with("\xcf\xfa\xed\xfe")) return "Mach-O";
  if (file.starts_with("!<arch>\n")) return "ar";
  if (file.starts_with(std::string_view("\0asm", 4))) return "wasm";
  return part_at(file, 257, 5) == "ustar" ? "tar" : "";
}

LibraryTrailer section_trailer(uint64_t covered, uint64_t manifest_bytes) {
  LibraryTrailer trailer{.object_bytes = covered,
                         .manifest_bytes = manifest_bytes,
                         .checksum = 0,
                         .abi_version = kLibraryAbiVersion,
                         .reserved = 0,
                         .reserved2 = 0,
                         .magic = {}};
  std::memcpy(trailer.magic, kTrailerMagic, sizeof trailer.magic);
  return trailer;
}

std::string_view find_member(std::string_view archive, std::string_view name) {
  constexpr uint64_t kBlock = 512, kArHeader = 60;
  if (archive.starts_with("!<arch>\n")) {
    for (uint64_t at = 8; at + kArHeader <= archive.size();) {
      const uint64_t size = text_number(archive.substr(at + 48, 10), 10);
      std::string_view field = archive.substr(at, 16), member = part_at(archive, at + kArHeader, size);
      if (member.size() != size) break;
      if (field.starts_with(name) && field.substr(name.size()).starts_with('/')) return member;
      // BSD's and Apple's form: "#1/20", and the name, padded with zeros, before the bytes.
      const uint64_t length = field.starts_with("#1/") ? text_number(field.substr(3), 10) : 0;
      if (length > 0 && length <= size && member.substr(0, member.find('\0')).substr(0, length) == name)
        return member.substr(length);
      at += kArHeader + size + size % 2;
    }
    return {};
  }
  for (uint64_t at = 0; at + kBlock <= archive.size() && archive[at] != 0;) {
    const uint64_t size = text_number(archive.substr(at + 124, 11), 8);
    std::string_view field = archive.substr(at, 100), member = part_at(archive, at + kBlock, size);
    if (member.size() != size) break;
    if (field.starts_with(name) && field.substr(name.size()).starts_with('\0')) return member;
    at += kBlock + (size + kBlock - 1) / kBlock * kBlock;
  }
  return {};
}

}  // namespace mlc
