// Seals and checks model library files.
#include "formats/library.h"

#include <cstring>

#include "base/strings.h"
#include "formats/library_sections.h"

namespace mlc {

std::string gpu_kernel_blob(MlcGpuKernel header, std::string_view name, std::string_view code) {
  header.name_bytes = static_cast<uint32_t>(name.size());
  header.code_bytes = code.size();
  std::string blob(reinterpret_cast<const char*>(&header), sizeof header);
  blob.append(name).append(8 - name.size() % 8, '\0');
  return blob.append(code).append(1, '\0');
}

Result<GpuKernelView> read_gpu_kernel(const void* blob, GpuLanguage language) {
  GpuKernelView view;
  std::memcpy(&view.header, blob, sizeof view.header);
  const MlcGpuKernel& h = view.header;
  const char* bytes = static_cast<const char*>(blob) + sizeof h;
  view.name = {bytes, h.name_bytes};
  view.code = {bytes + h.name_bytes + (8 - h.name_bytes % 8), static_cast<size_t>(h.code_bytes)};
  if (h.language != static_cast<uint32_t>(language))
    return Status::error(str("kernel ", view.name, ": its code is of language ", h.language, ", expected ",
                             static_cast<uint32_t>(language), "; compile the model again"));
  constexpr uint32_t kMaxGroup = 1024, kMaxBuffers = 32;
  if (h.group_size == 0 || h.group_size > kMaxGroup || h.buffer_count > kMaxBuffers ||
      h.dim_count > kMaxBuffers)
    return Status::error(str("kernel ", view.name, ": damaged header; compile the model again"));
  return view;
}

uint64_t checksum64(std::string_view bytes) {
  constexpr uint64_t kPrime = 0x100000001B3;
  uint64_t hash = 0xCBF29CE484222325;
  size_t whole = bytes.size() / 8 * 8;
  for (size_t i = 0; i < whole; i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    hash = (hash ^ word) * kPrime;
    hash ^= hash >> 29;  // FNV alone never moves high bits down
  }
  uint64_t tail = 0;
  std::memcpy(&tail, bytes.data() + whole, bytes.size() - whole);
  hash = (hash ^ tail) * kPrime;
  hash = (hash ^ bytes.size()) * kPrime;
  return hash ^ (hash >> 32);
}

std::string seal_library(std::string object, std::string_view manifest) {
  LibraryTrailer trailer{.object_bytes = object.size(),
                         .manifest_bytes = manifest.size(),
                         .checksum = 0,
                         .abi_version = kLibraryAbiVersion,
                         .reserved = 0,
                         .reserved2 = 0,
                         .magic = {}};
  std::memcpy(trailer.magic, kTrailerMagic, sizeof trailer.magic);
  object += manifest;
  trailer.checksum = checksum64(object);
  object.append(reinterpret_cast<const char*>(&trailer), sizeof trailer);
  return object;
}

namespace {

Status not_a_library(const std::string& what) {
  return Status::error(
      what +
      ": not a model library of mlc_llm, or cut short; expected a file written by `mlc_llm "
      "compile` (libraries of the TVM-based mlc-llm cannot be loaded), compile the model again");
}

// The trailer at the end of `bytes`, checked but for what it counts and covers.
Result<LibraryTrailer> read_trailer(std::string_view bytes, const std::string& what) {
  LibraryTrailer trailer;
  if (bytes.size() < sizeof trailer) return not_a_library(what);
  std::memcpy(&trailer, bytes.data() + bytes.size() - sizeof trailer, sizeof trailer);
  if (std::memcmp(trailer.magic, kTrailerMagic, sizeof trailer.magic) != 0) return not_a_library(what);
  if (trailer.abi_version != kLibraryAbiVersion)
    return Status::error(str(what, ": library ABI version ", trailer.abi_version,
                             ", this mlc_llm reads version ", kLibraryAbiVersion,
                             "; compile the model again with this mlc_llm"));
  return trailer;
}

Status wrong_checksum(const std::string& what) {
  return Status::error(what + ": damaged library: its checksum does not match; compile the model again");
}

Result<Json> check_macho(std::string_view bytes, const std::string& what) {
  MachoParts parts = find_macho_parts(bytes);
  ASSIGN_OR_RETURN(LibraryTrailer trailer, read_trailer(parts.library, what));
  std::string_view manifest = parts.library.substr(0, parts.library.size() - sizeof trailer);
  if (trailer.object_bytes != parts.signature || parts.signature > bytes.size() ||
      trailer.manifest_bytes != manifest.size())
    return Status::error(what +
                         ": damaged library: its trailer tells other lengths; compile the model again");
  std::string covered(bytes.substr(0, parts.signature));
  const auto at = static_cast<size_t>(manifest.data() + manifest.size() - bytes.data());
  if (at + sizeof trailer > covered.size()) return wrong_checksum(what);
  LibraryTrailer blank = section_trailer(trailer.object_bytes, trailer.manifest_bytes);
  std::memcpy(covered.data() + at, &blank, sizeof blank);
  if (checksum64(covered) != trailer.checksum) return wrong_checksum(what);
  return parse_json(manifest, what);
}

}  // namespace

Result<Json> check_library_bytes(std::string_view bytes, const std::string& what) {
  const std::string_view container = container_of(bytes);
  if (container == "Mach-O") return check_macho(bytes, what);
  if (is_archive(container)) {
    std::string_view manifest = find_member(bytes, "manifest.json");
    return manifest.empty() ? not_a_library(what) : parse_json(manifest, what);
  }
  ASSIGN_OR_RETURN(LibraryTrailer trailer, read_trailer(bytes, what));
  uint64_t payload = bytes.size() - sizeof trailer;
  if (trailer.object_bytes > payload || trailer.manifest_bytes != payload - trailer.object_bytes)
    return Status::error(str(what, ": damaged library: ", payload, " bytes where its trailer says ",
                             trailer.object_bytes + trailer.manifest_bytes, "; compile the model again"));
  if (checksum64(bytes.substr(0, payload)) != trailer.checksum) return wrong_checksum(what);
  return parse_json(bytes.substr(trailer.object_bytes, trailer.manifest_bytes), what);
}

Result<LibraryDescription> describe_library(const std::string& path) {
  ASSIGN_OR_RETURN(auto file, MappedFile::open(path));
  std::string_view bytes(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  ASSIGN_OR_RETURN(Json manifest, check_library_bytes(bytes, path));
  return LibraryDescription{file, std::move(manifest)};
}

}  // namespace mlc
