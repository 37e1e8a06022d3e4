// mlc_llm info: what a folder of converted weights holds.
#include <CLI/CLI.hpp>

#include "apps/cli/commands.h"

namespace mlc::cli {
void add_info(CLI::App&) {}
}  // namespace mlc::cli
