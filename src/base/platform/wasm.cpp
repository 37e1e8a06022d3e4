// WebAssembly: the host brings bytes and drivers as imports, so there are no files, threads or loaders here.
#include <cstdlib>

#include "base/platform/platform.h"

namespace mlc::platform {

std::string last_error() { return "there are no files here; the host brings their bytes"; }
FileState file_state(const std::string&) { return {}; }
FileState file_state(File) { return {}; }
bool is_broken_link(const std::string&) { return false; }
File open_file(const std::string&, Access) { return kNoFile; }
bool close_file(File) { return false; }
int64_t read_bytes(File, std::span<std::byte>, int64_t) { return -1; }
int64_t write_bytes(File, std::span<const std::byte>, int64_t) { return -1; }
bool remove_file(const char*) { return false; }
bool replace_file(const std::string&, const std::string&) { return false; }
bool make_folders(const std::string&) { return false; }
void remove_folder(const std::string&) {}
std::string make_unique_folder(const std::string&) { return ""; }
std::string temporary_folder() { return "."; }
std::string absolute_path(const std::string& path) { return path; }
bool is_absolute_path(std::string_view path) { return path.starts_with('/'); }

const std::byte* map_file(File, size_t) { return nullptr; }
void unmap_file(const std::byte*, size_t) {}
void forget_pages(const std::byte*, size_t, size_t, size_t) {}

void* allocate_pages(size_t size) { return std::calloc(1, size); }
void release_pages(void* pages, size_t) { std::free(pages); }
int64_t physical_memory() { return int64_t{4} << 30; }  // 32-bit addresses

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

void* open_library(const std::string&, std::string& error) {
  error = "the host loads libraries here";
  return nullptr;
}
void* open_driver(std::initializer_list<const char*>) { return nullptr; }
void close_library(void*) {}
void* find_symbol(void*, const char*) { return nullptr; }
void* find_program_symbol(const char*) { return nullptr; }

Answer ask_apart(const std::function<std::string()>& question, int) {
  return {Answer::End::kAnswered, question()};
}

}  // namespace mlc::platform
