// Windows: the C runtime's descriptors over wide paths, views of files, and the Win32 loader.
#define WIN32_LEAN_AND_MEAN
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
// After windows.h, whose types they need.
#include <fcntl.h>
#include <io.h>
#include <process.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string_view>
#include <thread>

#include "base/platform/platform.h"

namespace mlc::platform {
namespace {

std::wstring wide(std::string_view text) {
  int length = MultiByteToWideChar(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), nullptr, 0);
  std::wstring out(static_cast<size_t>(length), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), out.data(), length);
  return out;
}

std::string narrow(std::wstring_view text) {
  int length = WideCharToMultiByte(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), nullptr, 0,
                                   nullptr, nullptr);
  std::string out(static_cast<size_t>(length), '\0');
  WideCharToMultiByte(CP_UTF8, 0, text.data(), static_cast<int>(text.size()), out.data(), length, nullptr,
                      nullptr);
  return out;
}

// The system's sentence for an error code, one line.
std::string error_text(DWORD code) {
  wchar_t text[512];
  DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, nullptr, code, 0,
                                text, static_cast<DWORD>(std::size(text)), nullptr);
  std::string line = narrow({text, length});
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r' || line.back() == '.')) line.pop_back();
  return line.empty() ? "error " + std::to_string(code) : line;
}

FileState state_of(const struct _stat64& info) {
  return {.type = info.st_mode & _S_IFREG   ? FileType::kRegular
                  : info.st_mode & _S_IFDIR ? FileType::kFolder
                                            : FileType::kOther,
          .bytes = info.st_size,
          .modified_seconds = info.st_mtime,
          .modified_nanoseconds = 0};
}

// The C runtime's calls take counts of 31 bits.
template <typename Bytes>
unsigned piece_of(Bytes bytes) {
  return static_cast<unsigned>(std::min<size_t>(bytes.size(), size_t{1} << 30));
}

HANDLE handle_of(File file) { return reinterpret_cast<HANDLE>(_get_osfhandle(file)); }

OVERLAPPED place(int64_t offset) {
  OVERLAPPED at{};
  at.Offset = static_cast<DWORD>(offset);
  at.OffsetHigh = static_cast<DWORD>(offset >> 32);
  return at;
}

// Sets errno, so that last_error() knows one place only.
bool fail() {
  errno = EIO;
  return false;
}

}  // namespace

std::string last_error() { return std::strerror(errno); }

FileState file_state(const std::string& path) {
  struct _stat64 info;
  return _wstat64(wide(path).c_str(), &info) == 0 ? state_of(info) : FileState{};
}

FileState file_state(File file) {
  struct _stat64 info;
  return _fstat64(file, &info) == 0 ? state_of(info) : FileState{};
}

bool is_broken_link(const std::string& path) {
  DWORD attributes = GetFileAttributesW(wide(path).c_str());
  return attributes != INVALID_FILE_ATTRIBUTES && attributes & FILE_ATTRIBUTE_REPARSE_POINT &&
         file_state(path).type == FileType::kNone;
}

File open_file(const std::string& path, Access access) {
  int flags = access == Access::kRead      ? _O_RDONLY
              : access == Access::kReplace ? _O_RDWR | _O_CREAT | _O_TRUNC
              : access == Access::kUpdate  ? _O_RDWR | _O_CREAT
                                           : _O_WRONLY | _O_CREAT | _O_APPEND;
  return _wopen(wide(path).c_str(), flags | _O_BINARY | _O_NOINHERIT, _S_IREAD | _S_IWRITE);
}

bool close_file(File file) { return _close(file) == 0; }

int64_t read_bytes(File file, std::span<std::byte> to, int64_t offset) {
  if (offset < 0) return _read(file, to.data(), piece_of(to));
  OVERLAPPED at = place(offset);
  DWORD got = 0;
  if (ReadFile(handle_of(file), to.data(), piece_of(to), &got, &at)) return got;
  return GetLastError() == ERROR_HANDLE_EOF || fail() ? 0 : -1;
}

int64_t write_bytes(File file, std::span<const std::byte> from, int64_t offset) {
  if (offset < 0) return _write(file, from.data(), piece_of(from));
  OVERLAPPED at = place(offset);
  DWORD put = 0;
  return WriteFile(handle_of(file), from.data(), piece_of(from), &put, &at) || fail() ? int64_t{put} : -1;
}

bool remove_file(const char* path) { return _wunlink(wide(path).c_str()) == 0; }

bool replace_file(const std::string& from, const std::string& to) {
  return MoveFileExW(wide(from).c_str(), wide(to).c_str(), MOVEFILE_REPLACE_EXISTING) || fail();
}

std::string make_unique_folder(const std::string& parent) {
  for (unsigned attempt = 0; attempt < 1000; ++attempt) {
    unsigned number = static_cast<unsigned>(GetTickCount64()) * 31 + attempt;
    std::string path = parent + "/mlc_" + std::to_string(_getpid()) + "_" + std::to_string(number);
    if (CreateDirectoryW(wide(path).c_str(), nullptr)) return path;
    if (GetLastError() != ERROR_ALREADY_EXISTS) return "";
  }
  return "";
}

std::string temporary_folder() {
  wchar_t path[MAX_PATH + 1];
  return narrow({path, GetTempPathW(static_cast<DWORD>(std::size(path)), path)});
}

// "/a", "\\a" and "C:/a".
bool is_absolute_path(std::string_view path) {
  return path.starts_with('/') || path.starts_with('\\') || (path.size() > 1 && path[1] == ':');
}

const std::byte* map_file(File file, size_t size) {
  HANDLE mapping = CreateFileMappingW(handle_of(file), nullptr, PAGE_READONLY, 0, 0, nullptr);
  void* data = mapping ? MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, size) : nullptr;
  if (mapping) CloseHandle(mapping);  // the view keeps it
  if (!data) fail();
  return static_cast<const std::byte*>(data);
}

void unmap_file(const std::byte* data, size_t) { UnmapViewOfFile(data); }

// A page that is unlocked without having been locked leaves the working set.
void forget_pages(const std::byte* data, size_t size, size_t offset, size_t length) {
  constexpr size_t kPage = 4096;
  size_t begin = (offset + kPage - 1) / kPage * kPage, end = (offset + length) / kPage * kPage;
  if (begin < end && end <= size) VirtualUnlock(const_cast<std::byte*>(data) + begin, end - begin);
}

void* allocate_pages(size_t size) {
  return VirtualAlloc(nullptr, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void release_pages(void* pages, size_t) { VirtualFree(pages, 0, MEM_RELEASE); }

int64_t physical_memory() {
  MEMORYSTATUSEX memory{};
  memory.dwLength = sizeof memory;
  GlobalMemoryStatusEx(&memory);
  return static_cast<int64_t>(memory.ullTotalPhys);
}

int usable_cores() {
  DWORD_PTR process = 0, system = 0;
  if (!GetProcessAffinityMask(GetCurrentProcess(), &process, &system)) return 1;
  return std::max(1, __builtin_popcountll(process));
}

bool grants_cpu_feature(const char* feature) {
  constexpr DWORD kDotProduct = 43, kI8mm = 66;  // winnt.h: PF_ARM_V82_{DP,I8MM}_INSTRUCTIONS_AVAILABLE
  if (std::string_view(feature) == "dotprod") return IsProcessorFeaturePresent(kDotProduct);
  return std::string_view(feature) == "i8mm" && IsProcessorFeaturePresent(kI8mm);
}

std::string_view library_container() { return "PE"; }

bool may_have_gpu() { return true; }

std::tm local_time(std::time_t seconds) {
  std::tm local{};
  localtime_s(&local, &seconds);
  return local;
}

int process_id() { return _getpid(); }
bool is_terminal(int stream) { return _isatty(stream) != 0; }

void* open_library(const std::string& path, std::string& error) {
  HMODULE library = LoadLibraryW(wide(path).c_str());
  if (!library) error = error_text(GetLastError());
  return reinterpret_cast<void*>(library);
}

void* open_driver(std::initializer_list<const char*> names) {
  for (std::string_view name : names)
    if (name.ends_with(".dll"))
      if (HMODULE library = LoadLibraryW(wide(name).c_str())) return reinterpret_cast<void*>(library);
  return nullptr;
}

void close_library(void* library) { FreeLibrary(reinterpret_cast<HMODULE>(library)); }

void* find_symbol(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(reinterpret_cast<HMODULE>(library), name));
}

void* find_program_symbol(const char* name) { return find_symbol(GetModuleHandleW(nullptr), name); }

// A thread: it bounds the wait, but a crash of the driver ends this process too.
Answer ask_apart(const std::function<std::string()>& question, int seconds) {
  struct Shared {
    std::mutex mutex;
    std::condition_variable ready;
    bool done = false;
    std::string text;
  };
  auto shared = std::make_shared<Shared>();
  std::thread([shared, question] {
    std::string text = question();
    std::lock_guard lock(shared->mutex);
    shared->text = std::move(text);
    shared->done = true;
    shared->ready.notify_all();
  }).detach();
  std::unique_lock lock(shared->mutex);
  bool done = shared->ready.wait_for(lock, std::chrono::seconds(seconds), [&] { return shared->done; });
  return {done ? Answer::End::kAnswered : Answer::End::kTimedOut, shared->text};
}

}  // namespace mlc::platform
