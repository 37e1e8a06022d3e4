// WebAssembly: the host, a program in JavaScript, has the files and instantiates libraries; their bytes come
// by ranges through the functions imported below (web/host.mjs). One thread; nothing is written.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/platform/platform.h"

#define MLC_IMPORT(name) __attribute__((import_module("mlc"), import_name(name)))
extern "C" {
// Paths are UTF-8 of so many bytes. Bytes of a file; -1: there is none; -2: it is a folder.
MLC_IMPORT("file_bytes") double mlc_host_file_bytes(const char* path, size_t path_bytes);
// Writes that range of a file to `to`; how many bytes it wrote, -1 when it cannot be read.
MLC_IMPORT("read_file")
int mlc_host_read_file(const char* path, size_t path_bytes, double offset, void* to, size_t bytes);
// The names of a folder, sorted, a line each: their bytes in all, of which the first `room` are written.
MLC_IMPORT("folder_names")
size_t mlc_host_folder_names(const char* path, size_t path_bytes, char* to, size_t room);
// The address of the model library that a side module exports, in this memory; 0 when it cannot be loaded,
// with a sentence of at most `room` bytes.
MLC_IMPORT("open_library")
size_t mlc_host_open_library(const char* path, size_t path_bytes, char* error, size_t room,
                             size_t* error_bytes);
}

namespace mlc::platform {
namespace {

// Paths of open files; a file is its place here.
std::vector<std::string>& open_files() {
  static auto* files = new std::vector<std::string>;
  return *files;
}

const std::string* path_of(File file) {
  const auto place = static_cast<size_t>(file);
  return file >= 0 && place < open_files().size() && !open_files()[place].empty() ? &open_files()[place]
                                                                                  : nullptr;
}

}  // namespace

std::string last_error() { return "the host has no such file, or cannot read it"; }

FileState file_state(const std::string& path) {
  const double bytes = mlc_host_file_bytes(path.data(), path.size());
  if (bytes == -2) return {.type = FileType::kFolder};
  if (!(bytes >= 0 && bytes < 9007199254740992.0)) return {};  // 2^53: above it doubles are no lengths
  return {.type = FileType::kRegular, .bytes = static_cast<int64_t>(bytes)};
}

FileState file_state(File file) {
  const std::string* path = path_of(file);
  return path ? file_state(*path) : FileState{};
}

bool is_broken_link(const std::string&) { return false; }

File open_file(const std::string& path, Access access) {
  if (access != Access::kRead || file_state(path).type == FileType::kNone) return kNoFile;
  for (size_t i = 0; i < open_files().size(); ++i)
    if (open_files()[i].empty()) {
      open_files()[i] = path;
      return static_cast<File>(i);
    }
  open_files().push_back(path);
  return static_cast<File>(open_files().size() - 1);
}

bool close_file(File file) {
  if (!path_of(file)) return false;
  open_files()[static_cast<size_t>(file)].clear();
  return true;
}

// Without an offset there would be a place to remember: nothing that runs here reads so.
int64_t read_bytes(File file, std::span<std::byte> to, int64_t offset) {
  const std::string* path = path_of(file);
  if (!path || offset < 0) return -1;
  constexpr size_t kMost = size_t{1} << 30;
  return mlc_host_read_file(path->data(), path->size(), static_cast<double>(offset), to.data(),
                            to.size() < kMost ? to.size() : kMost);
}

int64_t write_bytes(File, std::span<const std::byte>, int64_t) { return -1; }
bool remove_file(const char*) { return false; }
bool replace_file(const std::string&, const std::string&) { return false; }
bool make_folders(const std::string&) { return false; }
void remove_folder(const std::string&) {}

std::vector<std::string> folder_names(const std::string& path) {
  std::string text(mlc_host_folder_names(path.data(), path.size(), nullptr, 0), '\0');
  text.resize(
      std::min(text.size(), mlc_host_folder_names(path.data(), path.size(), text.data(), text.size())));
  std::vector<std::string> names;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    names.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

std::string make_unique_folder(const std::string&) { return ""; }
std::string temporary_folder() { return "."; }
std::string absolute_path(const std::string& path) { return path; }
bool is_absolute_path(std::string_view path) { return path.starts_with('/'); }

bool maps_files() { return false; }

const std::byte* map_file(File file, size_t size) {
  auto* data = static_cast<std::byte*>(std::malloc(size));
  for (size_t done = 0; data && done < size;) {
    const int64_t n = read_bytes(file, {data + done, size - done}, static_cast<int64_t>(done));
    if (n <= 0) {
      std::free(data);
      return nullptr;
    }
    done += static_cast<size_t>(n);
  }
  return data;
}

void unmap_file(const std::byte* data, size_t) { std::free(const_cast<std::byte*>(data)); }
void forget_pages(const std::byte*, size_t, size_t, size_t) {}

void* allocate_pages(size_t size) {
  constexpr size_t kAlignment = 64;  // what kernels may expect
  void* pages = std::aligned_alloc(kAlignment, (size + kAlignment - 1) / kAlignment * kAlignment);
  if (pages) std::memset(pages, 0, size);
  return pages;
}
void release_pages(void* pages, size_t) { std::free(pages); }
// All of 32-bit addresses but the last page: sizes that are rounded up to pages fit into 32 bits, too.
int64_t physical_memory() { return (int64_t{4} << 30) - (1 << 16); }

int usable_cores() { return 1; }
bool grants_cpu_feature(const char*) { return false; }
std::string_view library_container() { return "wasm"; }

bool may_have_gpu() { return true; }

// With one thread nothing is ever started.
int most_threads() { return 1; }
void let_others_run() {}
struct Threads::List {};
Threads::Threads() = default;
Threads::~Threads() = default;
void Threads::start(std::function<void()>) { std::abort(); }
void Threads::join() {}

std::tm local_time(std::time_t seconds) {
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return utc;
}

int process_id() { return 1; }
bool is_terminal(int) { return false; }

// A library is the address of what it exports; it stays with the instance.
void* open_library(const std::string& path, std::string& error) {
  error.resize(1024);
  size_t bytes = 0;
  const size_t library = mlc_host_open_library(path.data(), path.size(), error.data(), error.size(), &bytes);
  error.resize(std::min(bytes, error.size()));
  return reinterpret_cast<void*>(library);
}
void* open_driver(std::initializer_list<const char*>) { return nullptr; }
void close_library(void*) {}
void* find_symbol(void* library, const char* name) {
  return std::string_view(name) == "mlc_model_library" ? library : nullptr;
}
void* find_program_symbol(const char*) { return nullptr; }

Answer ask_apart(const std::function<std::string()>& question, int) {
  return {Answer::End::kAnswered, question()};
}

}  // namespace mlc::platform
