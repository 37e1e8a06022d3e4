// What Linux and macOS share: POSIX files, mappings, the dynamic loader and child processes.
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include "base/platform/platform.h"

namespace mlc::platform {
namespace {

FileState state_of(const struct stat& info) {
  FileState state{.type = S_ISREG(info.st_mode)   ? FileType::kRegular
                          : S_ISDIR(info.st_mode) ? FileType::kFolder
                                                  : FileType::kOther,
                  .bytes = static_cast<int64_t>(info.st_size)};
#ifdef __APPLE__
  const struct timespec& modified = info.st_mtimespec;
#else
  const struct timespec& modified = info.st_mtim;
#endif
  state.modified_seconds = modified.tv_sec;
  state.modified_nanoseconds = modified.tv_nsec;
  return state;
}

}  // namespace

std::string last_error() { return std::strerror(errno); }

FileState file_state(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 ? state_of(info) : FileState{};
}

FileState file_state(File file) {
  struct stat info;
  return ::fstat(file, &info) == 0 ? state_of(info) : FileState{};
}

bool is_broken_link(const std::string& path) {
  struct stat info;
  return ::lstat(path.c_str(), &info) == 0 && S_ISLNK(info.st_mode) && ::stat(path.c_str(), &info) != 0;
}

File open_file(const std::string& path, Access access) {
  int flags = access == Access::kRead      ? O_RDONLY | O_NONBLOCK | O_NOCTTY
              : access == Access::kReplace ? O_RDWR | O_CREAT | O_TRUNC
              : access == Access::kUpdate  ? O_RDWR | O_CREAT
                                           : O_WRONLY | O_CREAT | O_APPEND;
  return ::open(path.c_str(), flags | O_CLOEXEC, 0644);
}

bool close_file(File file) { return ::close(file) == 0; }

int64_t read_bytes(File file, std::span<std::byte> to, int64_t offset) {
  for (;;) {
    ssize_t n = offset < 0 ? ::read(file, to.data(), to.size()) : ::pread(file, to.data(), to.size(), offset);
    if (n >= 0 || errno != EINTR) return n;
  }
}

int64_t write_bytes(File file, std::span<const std::byte> from, int64_t offset) {
  for (;;) {
    ssize_t n = offset < 0 ? ::write(file, from.data(), from.size())
                           : ::pwrite(file, from.data(), from.size(), offset);
    if (n >= 0 || errno != EINTR) return n;
  }
}

bool remove_file(const char* path) { return ::unlink(path) == 0; }

bool replace_file(const std::string& from, const std::string& to) {
  return ::rename(from.c_str(), to.c_str()) == 0;
}

std::string make_unique_folder(const std::string& parent) {
  std::string path = parent + "/mlc_XXXXXX";
  return ::mkdtemp(path.data()) ? path : "";
}

std::string temporary_folder() { return "/tmp"; }
bool is_absolute_path(std::string_view path) { return path.starts_with('/'); }

const std::byte* map_file(File file, size_t size) {
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  return data == MAP_FAILED ? nullptr : static_cast<const std::byte*>(data);
}

void unmap_file(const std::byte* data, size_t size) { ::munmap(const_cast<std::byte*>(data), size); }

void forget_pages(const std::byte* data, size_t size, size_t offset, size_t length) {
  size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  size_t begin = (offset + page - 1) / page * page, end = (offset + length) / page * page;
  if (begin < end && end <= size) ::madvise(const_cast<std::byte*>(data) + begin, end - begin, MADV_DONTNEED);
}

void release_pages(void* pages, size_t size) { ::munmap(pages, size); }

std::tm local_time(std::time_t seconds) {
  std::tm local{};
  ::localtime_r(&seconds, &local);
  return local;
}

int process_id() { return ::getpid(); }
bool is_terminal(int stream) { return ::isatty(stream) == 1; }

void* open_library(const std::string& path, std::string& error) {
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) error = ::dlerror();
  return library;
}

void* open_driver(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  return nullptr;
}

void close_library(void* library) { ::dlclose(library); }
void* find_symbol(void* library, const char* name) { return ::dlsym(library, name); }
void* find_program_symbol(const char* name) { return ::dlsym(RTLD_DEFAULT, name); }

namespace {

// The child: writes its answer and ends without running this process's exit handlers. Drivers may print; that
// is dropped.
[[noreturn]] void answer(const std::function<std::string()>& question, int to) {
  for (int signal : {SIGSEGV, SIGILL, SIGABRT, SIGBUS, SIGFPE}) std::signal(signal, SIG_DFL);
  if (int nothing = ::open("/dev/null", O_WRONLY); nothing >= 0) {
    ::dup2(nothing, STDOUT_FILENO);
    ::dup2(nothing, STDERR_FILENO);
  }
  std::string text = question();
  for (size_t done = 0; done < text.size();) {
    ssize_t n = ::write(to, text.data() + done, text.size() - done);
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  ::_exit(0);
}

// All that comes through the pipe until it is closed; false when the time is up first.
bool read_until(int from, std::chrono::steady_clock::time_point end, std::string& text) {
  for (;;) {
    auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd waiting{.fd = from, .events = POLLIN, .revents = 0};
    if (left <= 0 || ::poll(&waiting, 1, static_cast<int>(left)) <= 0) return false;
    char buffer[4096];
    ssize_t n = ::read(from, buffer, sizeof buffer);
    if (n <= 0) return true;
    text.append(buffer, static_cast<size_t>(n));
  }
}

}  // namespace

Answer ask_apart(const std::function<std::string()>& question, int seconds) {
  int ends[2];
  if (::pipe(ends) != 0) return {Answer::End::kNotStarted, last_error()};
  for (int end : ends) ::fcntl(end, F_SETFD, FD_CLOEXEC);
  pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    answer(question, ends[1]);
  }
  ::close(ends[1]);
  Answer got;
  bool in_time =
      child > 0 &&
      read_until(ends[0], std::chrono::steady_clock::now() + std::chrono::seconds(seconds), got.text);
  ::close(ends[0]);
  if (child < 0) return {Answer::End::kNotStarted, last_error()};
  if (!in_time) ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!in_time) return {Answer::End::kTimedOut, ""};
  if (WIFSIGNALED(status)) return {Answer::End::kCrashed, ::strsignal(WTERMSIG(status))};
  return got;
}

}  // namespace mlc::platform
