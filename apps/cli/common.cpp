// What the commands share: errors from statuses, checks of flags, and cleaning up when interrupted.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <set>

#include "apps/cli/commands.h"
#include "base/file.h"
#include "base/strings.h"
#include "base/user_error.h"

namespace mlc::cli {
namespace {

const char* interrupt_message = "";

void on_interrupt(int) {
  remove_unfinished_files();
  ssize_t ignored = ::write(STDERR_FILENO, interrupt_message, std::strlen(interrupt_message));
  (void)ignored;
  ::_exit(130);
}

}  // namespace

void throw_if_error(const Status& status) {
  if (!status.is_ok()) throw UserError(status.message());
}

void print_note(const std::string& text) {
  static std::mutex mutex;  // requests note things from any thread
  static std::set<std::string> printed;
  std::lock_guard lock(mutex);
  if (printed.insert(text).second) print_line("note: " + text);
}

std::string printable(const std::string& text) { return Status::error(text).message(); }

void print_line(const std::string& text) { std::fprintf(stderr, "%s\n", printable(text).c_str()); }

CLI::Validator whole_number(int64_t low, int64_t high) {
  auto check = [low, high](const std::string& text) -> std::string {
    int64_t number = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    bool good = error == std::errc() && end == text.data() + text.size() && number >= low && number <= high;
    return good ? "" : str("found '", text, "', expected a whole number from ", low, " to ", high);
  };
  return CLI::Validator(check, str(low, "..", high));
}

void clean_up_on_interrupt(const char* message) {
  interrupt_message = message;
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, on_interrupt);
}

void end_clean_up_on_interrupt() {
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_DFL);
}

void finish_output() {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout))
    throw UserError(
        str("standard output: cannot write: ", errno ? std::strerror(errno) : "an earlier write failed"));
}

}  // namespace mlc::cli
