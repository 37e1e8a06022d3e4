// Magic numbers, and the shapes of pointers and pages.
#include "base/file_kind.h"

#include <algorithm>

#include "base/file.h"
#include "base/platform/platform.h"
#include "base/strings.h"

namespace mlc {
namespace {

using namespace std::string_view_literals;

constexpr uint64_t kMaxPointer = 1024;  // Git LFS: a pointer file is shorter than 1024 bytes
constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;

struct Magic {
  std::string_view bytes;
  FileKind kind;
  size_t at = 0;
};
constexpr Magic kMagics[] = {
    {"GGUF"sv, FileKind::kGguf},
    {"FUGG"sv, FileKind::kGguf},
    {"lmgg"sv, FileKind::kOldGgml},
    {"fmgg"sv, FileKind::kOldGgml},
    {"tjgg"sv, FileKind::kOldGgml},
    {"PK\3\4"sv, FileKind::kZip},
    {"PK\5\6"sv, FileKind::kZip},
    {"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv, FileKind::kLegacyTorch},
    {"ustar"sv, FileKind::kTar, 257},
    {"\x1f\x8b"sv, FileKind::kGzip},
    {"\xfd"
     "7zXZ"sv,
     FileKind::kXz},
    {"\x28\xb5\x2f\xfd"sv, FileKind::kZstd},
    {"BZh"sv, FileKind::kBzip2},
    {"\x89HDF\r\n\x1a\n"sv, FileKind::kHdf5},
    {"\x7f"
     "ELF"sv,
     FileKind::kElf},
};

std::string_view without_leading_space(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF"sv)) text.remove_prefix(3);
  size_t begin = text.find_first_not_of(" \t\r\n"sv);
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

bool starts_with_lower(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() &&
         std::equal(lower.begin(), lower.end(), text.begin(),
                    [](char want, char c) { return want == (c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); });
}

// A page, or the XML in which object stores report errors; other XML and comments may begin a chat template.
bool is_page(std::string_view text) {
  for (std::string_view start : {"<!doctype html"sv, "<html"sv, "<error>"sv})
    if (starts_with_lower(text, start)) return true;
  if (!text.starts_with("<?xml"sv) && !text.starts_with("<!--"sv)) return false;
  for (std::string_view element : {"<html"sv, "<HTML"sv, "<Error>"sv, "<!DOCTYPE html"sv, "<!doctype html"sv})
    if (text.find(element) != std::string_view::npos) return true;
  return false;
}

bool is_pointer(std::string_view text, uint64_t size) {
  return size < kMaxPointer && (text.starts_with("version https://git-lfs"sv) ||
                                text.starts_with("version https://hawser.github.com/spec/"sv));
}

bool is_text(std::string_view head, uint64_t size) {
  // A character may be cut at the end of the head.
  if (head.size() < size)
    for (int i = 0; i < 3 && !head.empty() && (head.back() & 0x80); ++i) head.remove_suffix(1);
  bool printable = std::none_of(head.begin(), head.end(), [](char c) {
    return (c >= 0 && c < 32 && c != '\n' && c != '\r' && c != '\t' && c != '\f') || c == 127;
  });
  return printable && is_valid_utf8(head);
}

bool is_safetensors(std::string_view head) {
  uint64_t length = 0;
  if (head.size() < 9) return false;
  for (size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(head[i]);
  return head[8] == '{' && length >= 2 && length <= kMaxSafetensorsHeader;
}

}  // namespace

FileKind file_kind(std::string_view head, uint64_t size) {
  if (size == 0 || head.empty()) return FileKind::kEmpty;
  for (const Magic& magic : kMagics)
    if (head.size() >= magic.at && head.substr(magic.at).starts_with(magic.bytes)) return magic.kind;
  if (is_safetensors(head)) return FileKind::kSafetensors;
  if (head[0] == '\x80' && head.size() > 1 && head[1] >= 2 && head[1] <= 5) return FileKind::kPickle;
  std::string_view text = without_leading_space(head);
  if (is_pointer(text, size)) return FileKind::kLfsPointer;
  if (is_page(text)) return FileKind::kErrorPage;
  if (text.starts_with('{') || text.starts_with('[')) return FileKind::kJson;
  return is_text(head, size) ? FileKind::kText : FileKind::kOther;
}

std::string_view kind_name(FileKind kind) {
  switch (kind) {
    case FileKind::kEmpty: return "an empty file";
    case FileKind::kLfsPointer: return "a Git LFS pointer";
    case FileKind::kErrorPage: return "a web page";
    case FileKind::kGguf: return "a GGUF file";
    case FileKind::kOldGgml: return "a GGML file from before GGUF";
    case FileKind::kSafetensors: return "a safetensors file";
    case FileKind::kZip: return "a zip archive";
    case FileKind::kLegacyTorch: return "a checkpoint of PyTorch before 1.6";
    case FileKind::kPickle: return "a bare pickle";
    case FileKind::kTar: return "a tar archive";
    case FileKind::kGzip: return "a gzip archive";
    case FileKind::kXz: return "an xz archive";
    case FileKind::kZstd: return "a zstd archive";
    case FileKind::kBzip2: return "a bzip2 archive";
    case FileKind::kHdf5: return "an HDF5 file";
    case FileKind::kElf: return "an ELF program or library";
    case FileKind::kJson: return "a JSON text";
    case FileKind::kText: return "a text";
    case FileKind::kOther: break;
  }
  return "binary data of no kind known here";
}

Result<FileKind> probe_file(const std::string& path) {
  platform::File file = platform::kNoFile;
  RETURN_IF_ERROR(open_regular_file(path, file));
  const int64_t size = platform::file_state(file).bytes;
  char head[kProbeBytes];
  const int64_t length = platform::read_bytes(file, std::as_writable_bytes(std::span(head)), 0);
  std::string problem = platform::last_error();
  platform::close_file(file);
  if (length < 0) return Status::error(str(path, ": cannot read: ", problem));
  return file_kind({head, static_cast<size_t>(length)}, static_cast<uint64_t>(size));
}

Status check_not_stand_in(std::string_view head, uint64_t size, const std::string& what) {
  FileKind kind = file_kind(head.substr(0, kProbeBytes), size);
  if (kind == FileKind::kLfsPointer)
    return Status::error(
        what +
        ": a Git LFS pointer, not the file itself; run `git lfs pull` in its folder, or download the file");
  if (kind == FileKind::kErrorPage)
    return Status::error(
        what +
        ": a web page (HTML or XML), not the file itself; the download was an error page, download it again");
  return Status::ok();
}

}  // namespace mlc
