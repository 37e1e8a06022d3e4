// mlc_llm: the command line.
#include <string>
#include <vector>

#include "apps/cli/command_line.h"

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + (argc > 0), argv + argc);
  // Under the name of the program of 2023 it is that command.
  const std::string name = argc > 0 ? argv[0] : "";
  if (name.substr(name.rfind('/') + 1) == "mlc_chat_cli") arguments.insert(arguments.begin(), "mlc_chat_cli");
  return mlc::cli::run_program(arguments);
}
