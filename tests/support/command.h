// Runs the real mlc_llm as a user would, and toy checkpoints for it to work on.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "support/temp_folder.h"

namespace mlc::testing {

struct Outcome {
  int exit_code = 0;  // -signal when one ended it
  std::string out, err;
  int64_t peak_bytes = 0;
};

struct CommandOptions {
  std::string input;  // of standard input
  std::map<std::string, std::string>
      environment;          // over our own; MLC_LLM_HOME is set by the caller where it matters
  std::string output;       // standard output goes to this file ("/dev/full"), not into `out`
  int64_t file_limit = -1;  // bytes that any file may grow to; a full disk in small
  std::string directory;    // where it starts; "" = here
};

// Waits at most eight minutes, then kills it: ctest gives a test ten.
Outcome run_mlc_llm(const std::vector<std::string>& arguments, const CommandOptions& options = {});
// The program's path.
std::string mlc_llm_path();

// A directory of its own, removed with all in it.
class Workplace {
 public:
  std::string path(const std::string& name) const { return root_.file(name); }
  // Creates the file; returns its path.
  std::string write(const std::string& name, const std::string& bytes) const {
    return root_.write(name, bytes);
  }
  std::string make_folder(const std::string& name) const;
  // All files and folders below, relative, sorted.
  std::vector<std::string> list(const std::string& folder) const;

 private:
  TempFolder root_;
};

// A Hugging Face folder named `name`: the toy llama (or gpt_neox) with tokenizer and a chat template.
// `config` is laid over its config.json ("{}" for none). Returns its path.
std::string toy_checkpoint(const Workplace& place, const std::string& name = "llama",
                           const std::string& toy = "llama", const std::string& config = "{}");
// The toy converted into a folder; returns its path. Fails the test when the commands do. It is converted
// once for all tests that ask for the same (kept_result.h): a test of converting runs the command itself.
std::string converted(const Workplace& place, const std::string& checkpoint, const std::string& quantization,
                      const std::string& name);
// Takes the end tokens out of the folder's config: answers go on until max_tokens or the context end them.
void remove_end_tokens(const std::string& folder);
// A library compiled from the folder's config; returns its path. Compiled once, as above.
std::string compiled(const Workplace& place, const std::string& folder, const std::string& name,
                     const std::vector<std::string>& flags = {});

// Expects what every user mistake gets: exit code 1, and as the last of standard error one line that starts
// with "error: " and contains all of `words`; no other error precedes it.
void expect_error(const Outcome& outcome, const std::vector<std::string>& words);

}  // namespace mlc::testing
