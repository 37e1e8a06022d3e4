// Every command of mlc_llm. Each add_ function registers its flags and the callback that runs it; a callback reports a
// user's mistake by throwing UserError, which main prints as `error: <sentence>` and turns into exit code 1.
#pragma once

#include <string>

#include "base/status.h"

namespace CLI {
class App;
}

namespace mlc::cli {

// keep-sorted start
void add_bench(CLI::App& app);
void add_chat(CLI::App& app);
void add_compile(CLI::App& app);
void add_convert_weight(CLI::App& app);
void add_gen_config(CLI::App& app);
void add_info(CLI::App& app);
// keep-sorted end

// Throws the status as UserError unless it is ok.
void throw_if_error(const Status& status);
// The value, or its error thrown as UserError.
template <typename T>
T value_or_throw(Result<T> result) {
  throw_if_error(result.status());
  return std::move(result).value();
}

// From now on Ctrl-C and a kill remove unfinished files, print one line and exit with 130.
void clean_up_on_interrupt(const char* message);

}  // namespace mlc::cli
