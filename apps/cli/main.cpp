// mlc_llm: the command line.
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "apps/cli/commands.h"
#include "base/file.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

// Ctrl-C outside of a chat's answer: unfinished files go, the shell sees an interrupted program.
void interrupted(int signal) {
  remove_unfinished_files();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

std::vector<std::string> names_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands(nullptr)) names.push_back(sub->get_name());
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

// One sentence for a command line that does not parse.
std::string sentence(const CLI::App& app, const CLI::ParseError& e) {
  const CLI::App* command = &app;
  if (auto chosen = app.get_subcommands(); !chosen.empty()) command = chosen[0];
  std::vector<std::string> extras = command->remaining(true);
  if (e.get_name() == "ExtrasError" && !extras.empty()) {
    const std::string& word = extras[0];
    std::string kind = command == &app ? "command" : word.rfind("-", 0) == 0 ? "flag" : "argument";
    return str(word, ": unknown ", kind, did_you_mean(word, names_of(*command)), "; see `", app.get_name(),
               command == &app ? "" : " " + command->get_name(), " --help`");
  }
  return str(e.what(), "; see `", app.get_name(), command == &app ? "" : " " + command->get_name(), " --help`");
}

int fail(const std::string& message) {
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return 1;
}

int main(int argc, char** argv) {
  std::signal(SIGINT, interrupted);
  std::signal(SIGTERM, interrupted);
  CLI::App app("Converts, compiles and runs language models.", "mlc_llm");
  app.require_subcommand(1);
  Run run;
  add_convert_weight(app, run);
  add_gen_config(app, run);
  add_compile(app, run);
  add_chat(app, run);
  add_bench(app, run);
  add_info(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {  // --help
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return fail(sentence(app, e));
  }
  try {
    Status status = run();
    return status.is_ok() ? 0 : fail(status.message());
  } catch (const std::bad_alloc&) {
    return fail("out of memory; free some, or use a smaller model or context");
  } catch (const std::exception& e) {
    return fail(str("internal error: ", e.what(), "; this is a bug in mlc_llm, please report it"));
  }
}

}  // namespace
}  // namespace mlc::cli

int main(int argc, char** argv) { return mlc::cli::main(argc, argv); }
