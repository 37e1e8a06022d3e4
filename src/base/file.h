// Files: whole reads, read-only mappings, and writes that appear only when complete (temporary name, then
// rename).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace mlc {

// Empty files are read as such; pointers and error pages are refused (file_kind.h).
Result<std::string> read_file(const std::string& path);
// Writes beside `path` under a temporary name, then renames; nothing is left behind on failure.
Status write_file(const std::string& path, std::string_view bytes);

bool file_exists(const std::string& path);
bool is_directory(const std::string& path);
Result<int64_t> file_size(const std::string& path);
Status make_directories(const std::string& path);
// "a/b" from ("a", "b"); an absolute `name` wins.
std::string path_join(std::string_view directory, std::string_view name);

// Opens for reading without waiting. Errors: no such file, a link to nothing, a folder, no regular file, not
// readable.
Status open_regular_file(const std::string& path, int& fd);

// A read-only view of a whole file. Shared, so that tensors can keep their bytes alive. An empty file maps to
// an empty span. Pointers and error pages are refused (file_kind.h).
class MappedFile {
 public:
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }
  // Tells the kernel that this range will not be read again, so that streaming does not count as our memory.
  void release(size_t offset, size_t length) const;

 private:
  MappedFile(std::string path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}
  std::string path_;
  const std::byte* data_;
  size_t size_;
};

// A file written piece by piece that appears under `path` only after commit(); removed when destroyed before
// that.
class AtomicFile {
 public:
  static Result<std::unique_ptr<AtomicFile>> create(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  Status write(std::span<const std::byte> bytes);  // appends
  Status write_at(int64_t offset, std::span<const std::byte> bytes);
  Status commit();

 private:
  AtomicFile(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}
  std::string path_, temporary_;
  int fd_;
};

// Removes every temporary file that is still open. Async-signal-safe: for handlers of Ctrl-C.
void remove_unfinished_files();

}  // namespace mlc
