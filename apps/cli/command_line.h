// Parses a command line of mlc_llm and runs its command.
#pragma once

#include <string>
#include <vector>

namespace mlc::cli {

// `arguments` without the program's name. Returns the exit code; a user's mistake is thrown as UserError.
int run_command_line(const std::vector<std::string>& arguments);
// The whole program: the same, with what goes wrong printed in one sentence and exit code 1. Throws nothing.
int run_program(const std::vector<std::string>& arguments);

}  // namespace mlc::cli
