// mlc_llm: the command line.
#include "apps/cli/command_line.h"

int main(int argc, char** argv) { return mlc::cli::run_program({argv + 1, argv + argc}); }
