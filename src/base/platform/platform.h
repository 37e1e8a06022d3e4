// What differs between operating systems: files, memory, processor, threads, clock, loader and probe. Each
// platform is a file beside this, of which the build takes its own (cmake/rooms.cmake): linux.cpp and
// macos.cpp with what they share in posix.cpp, windows.cpp, wasm.cpp; hosted.cpp is the standard library's
// part on all but wasm. No other file of base, chat, formats, runtime and serve includes a header of an
// operating system (tools/check_platform).
//
// Paths are UTF-8 on every platform. Nothing here throws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mlc::platform {

// ---- Files. A call that fails (false, -1, kNoFile or nullptr) says why in last_error().
using File = int;
constexpr File kNoFile = -1;

enum class FileType { kNone, kRegular, kFolder, kOther };
struct FileState {
  FileType type = FileType::kNone;  // kNone: there is no such file
  int64_t bytes = 0;
  int64_t modified_seconds = 0, modified_nanoseconds = 0;
};

enum class Access {
  kRead,     // never waits, as opening a pipe would
  kReplace,  // to read and write, made new or emptied
  kUpdate,   // to read and write what is there, made new if need be
  kAppend,   // to write at the end, made new if need be
};

std::string last_error();
FileState file_state(const std::string& path);  // links are followed
FileState file_state(File file);
bool is_broken_link(const std::string& path);
File open_file(const std::string& path, Access access);
bool close_file(File file);
// At `offset`, or where the last call ended if that is below 0. How many bytes were read or written.
int64_t read_bytes(File file, std::span<std::byte> to, int64_t offset = -1);
int64_t write_bytes(File file, std::span<const std::byte> from, int64_t offset = -1);
bool remove_file(const char* path);  // safe in a signal handler
bool replace_file(const std::string& from, const std::string& to);
bool make_folders(const std::string& path);
void remove_folder(const std::string& path);  // and all that it holds
// The names of what a folder holds, sorted; none where it cannot be read.
std::vector<std::string> folder_names(const std::string& path);
// A new, empty folder of a name that no one has; "" when it cannot be made.
std::string make_unique_folder(const std::string& parent);
// Where temporary files go when nobody says otherwise.
std::string temporary_folder();
std::string absolute_path(const std::string& path);
bool is_absolute_path(std::string_view path);

// Maps the first `size` > 0 bytes of a file to read; the file may be closed then.
// Where mappings are copies in memory, maps_files() is false: what is large is read by ranges there.
bool maps_files();
const std::byte* map_file(File file, size_t size);
void unmap_file(const std::byte* data, size_t size);
// The whole pages in [offset, offset + length) of a mapping will not be read again soon.
void forget_pages(const std::byte* data, size_t size, size_t offset, size_t length);

// ---- Memory: zeroed pages, huge ones where they are large enough for that. `size` > 0.
void* allocate_pages(size_t size);
void release_pages(void* pages, size_t size);
int64_t physical_memory();  // bytes of the machine

// ---- Processor. Cores that this process may use: by affinity, and by quota rounded up.
int usable_cores();
// What only the operating system can grant or knows: "amx_bf16" (asks for it) on x86-64, "dotprod" and "i8mm"
// on Arm.
bool grants_cpu_feature(const char* feature);
// False where the system shows that there is no GPU, so that drivers need not be asked.
bool may_have_gpu();

// ---- Threads. At most `most_threads()` of them run, the caller's included.
int most_threads();
void let_others_run();
class Threads {
 public:
  Threads();
  ~Threads();  // waits for all
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  void start(std::function<void()> work);
  void join();

 private:
  struct List;
  std::unique_ptr<List> list_;
};

// ---- Clock and process. (std::chrono::steady_clock works everywhere.)
std::tm local_time(std::time_t seconds);
int process_id();
bool is_terminal(int stream);  // 0 input, 1 output, 2 errors

// ---- Loader of shared libraries and drivers.
std::string_view library_container();  // of libraries: "ELF", "PE", "Mach-O" (formats/library_sections.h)
// nullptr with one line in `error` when it cannot be loaded.
void* open_library(const std::string& path, std::string& error);
// The first that the system finds of a driver's names, all platforms' in one list; nullptr when none is
// there.
void* open_driver(std::initializer_list<const char*> names);
void close_library(void* library);
void* find_symbol(void* library, const char* name);
void* find_program_symbol(const char* name);  // in this program

// ---- Probe: a question that may crash or hang, answered apart from this process where the platform can.
struct Answer {
  enum class End { kAnswered, kCrashed, kTimedOut, kNotStarted } end = End::kAnswered;
  std::string text;  // the answer, or what is known of a crash
};
Answer ask_apart(const std::function<std::string()>& question, int seconds);

}  // namespace mlc::platform
