// What a file is, by its content and whatever its name: one probe in front of every reader.
//
// MappedFile::open, and with it read_file and read_json_file, refuses what only stands in for a file: a Git
// LFS pointer and the page that a server sent instead. Readers that take several kinds ask probe_file first.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace mlc {

enum class FileKind {
  kEmpty,
  kLfsPointer,
  kErrorPage,  // HTML or XML that a server sent instead of the file
  kGguf,       // either byte order
  kOldGgml,    // the formats before GGUF
  kSafetensors,
  kZip,          // torch.save since 1.6
  kLegacyTorch,  // torch.save before 1.6
  kPickle,
  kTar,
  kGzip,
  kXz,
  kZstd,
  kBzip2,
  kHdf5,
  kElf,
  kJson,
  kText,
  kOther,
};

// `head` is the beginning of a file of `size` bytes, kProbeBytes of it or all.
constexpr size_t kProbeBytes = 1024;
FileKind file_kind(std::string_view head, uint64_t size);
// "a Git LFS pointer", "a gzip archive", ... for sentences.
std::string_view kind_name(FileKind kind);

// Opens, reads the beginning, closes; never waits (a pipe is refused). Errors: no such file, a link to
// nothing, a folder, no regular file, not readable.
Result<FileKind> probe_file(const std::string& path);

// Refuses pointers and error pages with the remedy; `what` names the file.
Status check_not_stand_in(std::string_view head, uint64_t size, const std::string& what);

}  // namespace mlc
