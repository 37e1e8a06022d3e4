// mlc_llm: the command line. Prints what goes wrong in one sentence, exit code 1.
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "apps/cli/command_line.h"
#include "apps/cli/commands.h"
#include "base/strings.h"
#include "base/user_error.h"

int main(int argc, char** argv) {
  try {
    std::signal(SIGXFSZ, SIG_IGN);  // a file beyond the limit is an error of the write, not our death
    int code = mlc::cli::run_command_line({argv + 1, argv + argc});
    mlc::cli::finish_output();
    return code;
  } catch (const mlc::UserError& error) {
    mlc::cli::print_line(mlc::str("error: ", error.what()));
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "error: out of memory; free some, or use a smaller model or context\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: internal: %s; this is a bug in mlc_llm, please report it\n", error.what());
  }
  return 1;
}
