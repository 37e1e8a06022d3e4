// What the commands share: errors from statuses, and cleaning up when interrupted.
#include <csignal>
#include <cstring>
#include <unistd.h>

#include "apps/cli/commands.h"
#include "base/file.h"
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

void clean_up_on_interrupt(const char* message) {
  interrupt_message = message;
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, on_interrupt);
}

}  // namespace mlc::cli
