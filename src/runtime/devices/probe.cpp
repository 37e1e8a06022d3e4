// Asks a driver in a child process.
#include "runtime/devices/probe.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>

#include "base/json.h"
#include "base/strings.h"

namespace mlc::runtime {
namespace {

Json to_json(const Result<std::vector<ListedDevice>>& found) {
  if (!found.is_ok()) return {{"error", found.status().message()}};
  Json list = Json::array();
  for (const ListedDevice& d : found.value())
    list.push_back({{"name", d.name},
                    {"description", d.description},
                    {"memory_bytes", d.memory_bytes},
                    {"features", d.features},
                    {"software", d.software}});
  return {{"devices", list}};
}

Result<std::vector<ListedDevice>> from_json(const Json& answer, const std::string& what) {
  if (auto error = find_string(answer, "error")) return Status::error(*error);
  const Json* list = find(answer, "devices");
  if (!list || !list->is_array()) return Status::error(what + ": the driver's answer was cut short");
  std::vector<ListedDevice> devices;
  for (const Json& d : *list) {
    ListedDevice listed;
    ASSIGN_OR_RETURN(listed.name, get_string(d, "name", what));
    ASSIGN_OR_RETURN(listed.description, get_string(d, "description", what));
    ASSIGN_OR_RETURN(listed.memory_bytes, get_int(d, "memory_bytes", what));
    for (const Json& f : d["features"]) listed.features.push_back(f.get<std::string>());
    listed.software = d["software"].get<bool>();
    devices.push_back(std::move(listed));
  }
  return devices;
}

// The child: writes its answer and ends without running this process's exit handlers. Drivers may print; that
// is dropped.
[[noreturn]] void answer(DeviceLister lister, int to) {
  for (int signal : {SIGSEGV, SIGILL, SIGABRT, SIGBUS, SIGFPE}) std::signal(signal, SIG_DFL);
  if (int nothing = ::open("/dev/null", O_WRONLY); nothing >= 0) {
    ::dup2(nothing, STDOUT_FILENO);
    ::dup2(nothing, STDERR_FILENO);
  }
  std::string text = json_text(to_json(lister()));
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

Result<std::vector<ListedDevice>> probe(const std::string& kind, DeviceLister lister, int seconds) {
  std::string what = "--device " + kind;
  int pipe_ends[2];
  if (::pipe2(pipe_ends, O_CLOEXEC) != 0)
    return Status::error(str(what, ": cannot ask the driver: ", std::strerror(errno)));
  pid_t child = ::fork();
  if (child == 0) {
    ::close(pipe_ends[0]);
    answer(lister, pipe_ends[1]);
  }
  ::close(pipe_ends[1]);
  std::string text;
  bool in_time =
      child > 0 &&
      read_until(pipe_ends[0], std::chrono::steady_clock::now() + std::chrono::seconds(seconds), text);
  ::close(pipe_ends[0]);
  if (child < 0) return Status::error(what + ": cannot start a process to ask the driver");
  if (!in_time) ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!in_time)
    return Status::error(str(what, ": the driver did not answer in ", seconds, " seconds; update it"));
  if (WIFSIGNALED(status))
    return Status::error(str(what, ": the driver crashed (", strsignal(WTERMSIG(status)),
                             ") when asked for its devices; update it"));
  auto json = parse_json(text, what);
  if (!json.is_ok()) return Status::error(what + ": the driver ended the process that asked it; update it");
  return from_json(*json, what);
}

}  // namespace mlc::runtime
