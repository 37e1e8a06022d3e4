// The commands of mlc_llm. Each adds its subcommand and flags; when chosen on the command line it sets `run`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "base/status.h"

namespace mlc::cli {

// What the chosen command does, called after parsing. Errors are printed by main as "error: <sentence>", exit code 1.
using Run = std::function<Status()>;

// keep-sorted start
void add_bench(CLI::App& app, Run& run);
void add_chat(CLI::App& app, Run& run);
void add_compile(CLI::App& app, Run& run);
void add_convert_weight(CLI::App& app, Run& run);
void add_gen_config(CLI::App& app, Run& run);
void add_info(CLI::App& app, Run& run);
// keep-sorted end

}  // namespace mlc::cli
