// Files: whole reads, mappings and atomic writes over the platform's calls.
#include "base/file.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "base/file_kind.h"
#include "base/platform/platform.h"
#include "base/strings.h"

namespace mlc {
namespace {

using platform::FileType;

Status failure(const std::string& path, std::string_view action) {
  return Status::error(str(path, ": cannot ", action, ": ", platform::last_error()));
}

// Names of unfinished files, in fixed storage so that a signal handler can read it.
constexpr int kMaxUnfinished = 64;
struct Unfinished {
  std::atomic<bool> used{false};
  std::array<char, 4096> path{};
};
Unfinished unfinished[kMaxUnfinished];

void remember(const std::string& path) {
  for (Unfinished& u : unfinished) {
    bool expected = false;
    if (path.size() + 1 < u.path.size() && u.used.compare_exchange_strong(expected, true)) {
      std::memcpy(u.path.data(), path.c_str(), path.size() + 1);
      return;
    }
  }
}

void forget(const std::string& path) {
  for (Unfinished& u : unfinished)
    if (u.used && path == u.path.data()) {
      u.path[0] = 0;
      u.used = false;
    }
}

Status write_all(platform::File file, const std::string& path, std::span<const std::byte> bytes,
                 int64_t offset) {
  while (!bytes.empty()) {
    int64_t n = platform::write_bytes(file, bytes, offset);
    if (n <= 0) return failure(path, "write");
    bytes = bytes.subspan(static_cast<size_t>(n));
    if (offset >= 0) offset += n;
  }
  return Status::ok();
}

}  // namespace

Result<std::string> read_file(const std::string& path) {
  ASSIGN_OR_RETURN(auto file, MappedFile::open(path));
  return std::string(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
}

Status write_file(const std::string& path, std::string_view bytes) {
  ASSIGN_OR_RETURN(auto file, AtomicFile::create(path));
  RETURN_IF_ERROR(file->write(std::as_bytes(std::span(bytes))));
  return file->commit();
}

bool file_exists(const std::string& path) { return platform::file_state(path).type == FileType::kRegular; }

bool is_directory(const std::string& path) { return platform::file_state(path).type == FileType::kFolder; }

Result<int64_t> file_size(const std::string& path) {
  platform::FileState state = platform::file_state(path);
  if (state.type == FileType::kNone) return failure(path, "read");
  return state.bytes;
}

Status make_directories(const std::string& path) {
  return platform::make_folders(path) ? Status::ok() : failure(path, "create the directory");
}

std::string path_join(std::string_view directory, std::string_view name) {
  if (directory.empty() || platform::is_absolute_path(name)) return std::string(name);
  return directory.ends_with('/') ? str(directory, name) : str(directory, "/", name);
}

Status open_regular_file(const std::string& path, int& fd) {
  fd = platform::open_file(path, platform::Access::kRead);
  if (fd == platform::kNoFile) {
    Status status = failure(path, "open");
    if (is_directory(path)) return Status::error(path + ": a folder, not a regular file");
    return platform::is_broken_link(path)
               ? Status::error(path + ": a link to a file that does not exist; download the file again")
               : status;
  }
  FileType type = platform::file_state(fd).type;
  if (type == FileType::kRegular) return Status::ok();
  platform::close_file(fd);
  return Status::error(
      path + (type == FileType::kFolder ? ": a folder, not a regular file" : ": not a regular file"));
}

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  platform::File opened = platform::kNoFile;
  RETURN_IF_ERROR(open_regular_file(path, opened));
  const int64_t bytes = platform::file_state(opened).bytes;
  if (static_cast<uint64_t>(bytes) > PTRDIFF_MAX) {
    platform::close_file(opened);
    return Status::error(str(path, ": has ", bytes, " bytes, more than this system has addresses for"));
  }
  const auto size = static_cast<size_t>(bytes);
  const std::byte* data = size > 0 ? platform::map_file(opened, size) : nullptr;
  Status mapped = data || size == 0 ? Status::ok() : failure(path, "map");
  platform::close_file(opened);
  RETURN_IF_ERROR(mapped);
  std::shared_ptr<const MappedFile> file(new MappedFile(path, data, size));
  RETURN_IF_ERROR(
      check_not_stand_in({reinterpret_cast<const char*>(data), std::min(size, kProbeBytes)}, size, path));
  return file;
}

MappedFile::~MappedFile() {
  if (size_ > 0) platform::unmap_file(data_, size_);
}

void MappedFile::release(size_t offset, size_t length) const {
  platform::forget_pages(data_, size_, offset, length);
}

Result<std::unique_ptr<AtomicFile>> AtomicFile::create(const std::string& path) {
  // A rename would replace a device or a pipe by a file.
  FileType type = platform::file_state(path).type;
  if (type == FileType::kFolder || type == FileType::kOther)
    return Status::error(str(path, type == FileType::kFolder ? ": is a directory" : ": is not a regular file",
                             ", expected the name of a file to write"));
  std::string temporary = str(path, ".tmp-", platform::process_id());
  platform::File file = platform::open_file(temporary, platform::Access::kReplace);
  if (file == platform::kNoFile) return failure(path, "create");
  remember(temporary);
  return std::unique_ptr<AtomicFile>(new AtomicFile(path, temporary, file));
}

AtomicFile::~AtomicFile() {
  if (fd_ == platform::kNoFile) return;
  platform::close_file(fd_);
  platform::remove_file(temporary_.c_str());
  forget(temporary_);
}

Status AtomicFile::write(std::span<const std::byte> bytes) { return write_all(fd_, path_, bytes, -1); }

Status AtomicFile::write_at(int64_t offset, std::span<const std::byte> bytes) {
  return write_all(fd_, path_, bytes, offset);
}

Status AtomicFile::commit() {
  bool closed = platform::close_file(fd_);
  fd_ = platform::kNoFile;
  Status status;
  if (!closed)
    status = failure(path_, "write");
  else if (!platform::replace_file(temporary_, path_))
    status = failure(path_, "replace");
  if (!status.is_ok()) platform::remove_file(temporary_.c_str());
  forget(temporary_);
  return status;
}

void remove_unfinished_files() {
  for (Unfinished& u : unfinished)
    if (u.used && u.path[0]) platform::remove_file(u.path.data());
}

}  // namespace mlc
