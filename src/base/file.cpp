// Files: whole reads, mappings and atomic writes over POSIX calls.
#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/file_kind.h"
#include "base/strings.h"

namespace mlc {
namespace {

Status failure(const std::string& path, std::string_view action) {
  return Status::error(str(path, ": cannot ", action, ": ", std::strerror(errno)));
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

Status write_all(int fd, const std::string& path, std::span<const std::byte> bytes, int64_t offset) {
  while (!bytes.empty()) {
    ssize_t n = offset < 0 ? ::write(fd, bytes.data(), bytes.size())
                           : ::pwrite(fd, bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
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

bool file_exists(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

bool is_directory(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

Result<int64_t> file_size(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return failure(path, "read");
  return static_cast<int64_t>(info.st_size);
}

Status make_directories(const std::string& path) {
  std::error_code code;
  std::filesystem::create_directories(path, code);
  if (code) return Status::error(str(path, ": cannot create the directory: ", code.message()));
  return Status::ok();
}

std::string path_join(std::string_view directory, std::string_view name) {
  return (std::filesystem::path(directory) / std::filesystem::path(name)).string();
}

Status open_regular_file(const std::string& path, int& fd) {
  fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  struct stat info;
  if (fd < 0) {
    Status status = failure(path, "open");
    bool link =
        ::lstat(path.c_str(), &info) == 0 && S_ISLNK(info.st_mode) && ::stat(path.c_str(), &info) != 0;
    return link ? Status::error(path + ": a link to a file that does not exist; download the file again")
                : status;
  }
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) return Status::ok();
  ::close(fd);
  return Status::error(path +
                       (S_ISDIR(info.st_mode) ? ": a folder, not a regular file" : ": not a regular file"));
}

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  int fd = -1;
  RETURN_IF_ERROR(open_regular_file(path, fd));
  struct stat info;
  ::fstat(fd, &info);
  size_t size = static_cast<size_t>(info.st_size);
  void* data = nullptr;
  if (size > 0) {
    data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      Status s = failure(path, "map");
      ::close(fd);
      return s;
    }
  }
  ::close(fd);
  std::shared_ptr<const MappedFile> file(new MappedFile(path, static_cast<const std::byte*>(data), size));
  RETURN_IF_ERROR(
      check_not_stand_in({static_cast<const char*>(data), std::min(size, kProbeBytes)}, size, path));
  return file;
}

MappedFile::~MappedFile() {
  if (size_ > 0) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(size_t offset, size_t length) const {
  size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  size_t begin = (offset + page - 1) / page * page, end = (offset + length) / page * page;
  if (begin < end && end <= size_)
    ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

Result<std::unique_ptr<AtomicFile>> AtomicFile::create(const std::string& path) {
  // A rename would replace a device or a pipe by a file.
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    return Status::error(str(path, S_ISDIR(info.st_mode) ? ": is a directory" : ": is not a regular file",
                             ", expected the name of a file to write"));
  std::string temporary = str(path, ".tmp-", ::getpid());
  int fd = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return failure(path, "create");
  remember(temporary);
  return std::unique_ptr<AtomicFile>(new AtomicFile(path, temporary, fd));
}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(temporary_.c_str());
  forget(temporary_);
}

Status AtomicFile::write(std::span<const std::byte> bytes) { return write_all(fd_, path_, bytes, -1); }

Status AtomicFile::write_at(int64_t offset, std::span<const std::byte> bytes) {
  return write_all(fd_, path_, bytes, offset);
}

Status AtomicFile::commit() {
  int closed = ::close(fd_);
  fd_ = -1;
  Status status;
  if (closed != 0)
    status = failure(path_, "write");
  else if (::rename(temporary_.c_str(), path_.c_str()) != 0)
    status = failure(path_, "replace");
  if (!status.is_ok()) ::unlink(temporary_.c_str());
  forget(temporary_);
  return status;
}

void remove_unfinished_files() {
  for (Unfinished& u : unfinished)
    if (u.used && u.path[0]) ::unlink(u.path.data());
}

}  // namespace mlc
