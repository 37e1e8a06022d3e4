// mlc_llm gen_config: mlc-chat-config.json and the tokenizer files.
#include <CLI/CLI.hpp>

#include "apps/cli/commands.h"

namespace mlc::cli {
void add_gen_config(CLI::App&) {}
}  // namespace mlc::cli
