// Parses a command line of mlc_llm and runs its command.
#include "apps/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <vector>

#include "apps/cli/commands.h"
#include "base/strings.h"
#include "base/user_error.h"

namespace mlc::cli {
namespace {

std::vector<std::string> known_words(const CLI::App& app) {
  std::vector<std::string> words;
  for (const CLI::App* command : app.get_subcommands({})) words.push_back(command->get_name());
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
    for (const std::string& name : option->get_snames()) words.push_back("-" + name);
  }
  return words;
}

// The sentence for arguments that no option took; "" when all were taken.
std::string unknown_argument(const CLI::App& app) {
  for (const CLI::App* command : app.get_subcommands())
    if (std::string text = unknown_argument(*command); !text.empty()) return text;
  std::vector<std::string> rest = app.remaining();
  if (rest.empty()) return "";
  std::string word = rest[0].substr(0, rest[0].find('='));
  bool flag = word.starts_with("-");
  return str(flag               ? "unknown flag "
             : app.get_parent() ? "unexpected argument "
                                : "unknown command ",
             word, app.get_parent() ? " for " + app.get_name() : "", did_you_mean(word, known_words(app)),
             "; see mlc_llm ", app.get_parent() ? app.get_name() + " " : "", "--help");
}

// CLI11's complaint as our kind of sentence: what it concerns first, then what was found.
std::string sentence(const CLI::ParseError& error) {
  std::string text = error.what();
  const std::string prefix = "Could not convert: ";  // "Could not convert: --threads = abc"
  size_t equals = text.find(" = ");
  if (text.starts_with(prefix) && equals != std::string::npos)
    return str(text.substr(prefix.size(), equals - prefix.size()), ": found '", text.substr(equals + 3),
               "', expected a number");
  if (text.ends_with(" is required")) return text.substr(0, text.size() - 12) + ": missing; see --help";
  return text;
}

}  // namespace

int run_command_line(const std::vector<std::string>& arguments) {
  CLI::App app{"mlc_llm: compiles and runs language models", "mlc_llm"};
  app.require_subcommand(0, 1);
  add_convert_weight(app);
  add_gen_config(app);
  add_compile(app);
  add_chat(app);
  add_serve(app);
  add_verify(app);
  add_bench(app);
  add_info(app);
  add_model_metadata(app);
  add_devices(app);
  add_build(app);
  add_calibrate(app);
  add_mlc_chat_cli(app);
  app.allow_extras();
  for (CLI::App* command : app.get_subcommands({})) command->allow_extras();
  // Callbacks run only after every argument is known to be good.
  app.parse_complete_callback([&app] {
    if (std::string text = unknown_argument(app); !text.empty()) throw UserError(text);
    if (app.get_subcommands().empty()) throw CLI::CallForHelp();
  });
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
    app.parse(reversed);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return app.exit(help);
  } catch (const CLI::RuntimeError& ended) {  // a command that has told what went wrong
    return ended.get_exit_code();
  } catch (const CLI::ParseError& error) {
    std::string unknown = unknown_argument(app);  // a mistyped flag is why the right one is missing
    throw UserError(unknown.empty() ? sentence(error) : unknown);
  }
  return 0;
}

int run_program(const std::vector<std::string>& arguments) {
  try {
    std::signal(SIGXFSZ, SIG_IGN);  // a file beyond the limit is an error of the write, not our death
    int code = run_command_line(arguments);
    finish_output();
    return code;
  } catch (const UserError& error) {
    print_line(str("error: ", error.what()));
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "error: out of memory; free some, or use a smaller model or context\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: internal: %s; this is a bug in mlc_llm, please report it\n", error.what());
  }
  return 1;
}

}  // namespace mlc::cli
