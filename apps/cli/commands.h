// Every command of mlc_llm. Each add_ function registers its flags and the callback that runs it; a callback
// reports a user's mistake by throwing UserError, which main prints as `error: <sentence>` and turns into
// exit code 1.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace CLI {
class App;
class Validator;
}  // namespace CLI

namespace mlc::cli {

// keep-sorted start
void add_bench(CLI::App& app);
void add_build(CLI::App& app);
void add_calibrate(CLI::App& app);
void add_chat(CLI::App& app);
void add_compile(CLI::App& app);
void add_convert_weight(CLI::App& app);
void add_devices(CLI::App& app);
void add_gen_config(CLI::App& app);
void add_info(CLI::App& app);
void add_mlc_chat_cli(CLI::App& app);
void add_model_metadata(CLI::App& app);
void add_serve(CLI::App& app);
void add_verify(CLI::App& app);
// keep-sorted end

// Throws the status as UserError unless it is ok.
void throw_if_error(const Status& status);
// The value, or its error thrown as UserError.
template <typename T>
T value_or_throw(Result<T> result) {
  throw_if_error(result.status());
  return std::move(result).value();
}

// Prints `note: <text>` on standard error, each text once a process: chat runs commands that note the same.
void print_note(const std::string& text);

// One line of text: control bytes, and those that are not UTF-8, as \xNN.
std::string printable(const std::string& text);
// Prints one such line on standard error.
void print_line(const std::string& text);

// A flag's check: a whole number in [low, high], its error says what was found.
CLI::Validator whole_number(int64_t low, int64_t high);

// From now on Ctrl-C and a kill remove unfinished files, print one line and exit with 130.
void clean_up_on_interrupt(const char* message);
// The opposite: they end the program as usual.
void end_clean_up_on_interrupt();

// Flushes standard output; throws UserError where it could not be written in full (a full disk).
void finish_output();

}  // namespace mlc::cli
