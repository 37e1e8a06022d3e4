// Child processes through fork and exec.
#include "support/command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "support/kept_result.h"
#include "support/toys.h"

namespace mlc::testing {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) == 0) read = ends[0], write = ends[1];
  }
  ~Pipe() { close_read(), close_write(); }
  void close_read() {
    if (read >= 0) ::close(read), read = -1;
  }
  void close_write() {
    if (write >= 0) ::close(write), write = -1;
  }
};

[[noreturn]] void become(const std::vector<std::string>& arguments, const CommandOptions& options,
                         const Pipe& in, const Pipe& out, const Pipe& err) {
  ::dup2(in.read, STDIN_FILENO);
  ::dup2(options.output.empty() ? out.write : ::open(options.output.c_str(), O_WRONLY | O_CREAT, 0644),
         STDOUT_FILENO);
  ::dup2(err.write, STDERR_FILENO);
  for (const auto& [name, value] : options.environment) ::setenv(name.c_str(), value.c_str(), 1);
  if (options.file_limit >= 0) {
    struct rlimit limit{static_cast<rlim_t>(options.file_limit), static_cast<rlim_t>(options.file_limit)};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  if (!options.directory.empty() && ::chdir(options.directory.c_str()) != 0) ::_exit(126);
  std::vector<char*> argv = {const_cast<char*>(MLC_LLM)};
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  ::execv(MLC_LLM, argv.data());
  ::_exit(127);
}

// Feeds `input` and collects both outputs until the child has closed them.
void exchange(const std::string& input, Pipe& in, Pipe& out, Pipe& err, Outcome& outcome, pid_t child) {
  size_t fed = 0;
  auto deadline = Clock::now() + std::chrono::minutes(8);
  ::fcntl(in.write, F_SETFL, O_NONBLOCK);
  while (out.read >= 0 || err.read >= 0) {
    if (fed == input.size()) in.close_write();
    struct pollfd fds[] = {{in.write, POLLOUT, 0}, {out.read, POLLIN, 0}, {err.read, POLLIN, 0}};
    ::poll(fds, 3, 1000);
    if (Clock::now() > deadline) ::kill(child, SIGKILL);
    if (fds[0].revents) {
      ssize_t n = ::write(in.write, input.data() + fed, input.size() - fed);
      if (n > 0)
        fed += static_cast<size_t>(n);
      else
        in.close_write();
    }
    char buffer[4096];
    for (auto [end, pipe, text] : {std::tuple{1, &out, &outcome.out}, std::tuple{2, &err, &outcome.err}}) {
      if (!fds[end].revents) continue;
      ssize_t n = ::read(pipe->read, buffer, sizeof buffer);
      if (n > 0)
        text->append(buffer, static_cast<size_t>(n));
      else
        pipe->close_read();
    }
  }
}

}  // namespace

std::string mlc_llm_path() { return MLC_LLM; }

Outcome run_mlc_llm(const std::vector<std::string>& arguments, const CommandOptions& options) {
  Outcome outcome;
  Pipe in, out, err;
  ::signal(SIGPIPE, SIG_IGN);  // a child that does not read its input
  pid_t child = ::fork();
  if (child == 0) become(arguments, options, in, out, err);
  in.close_read(), out.close_write(), err.close_write();
  exchange(options.input, in, out, err, outcome, child);
  int status = 0;
  struct rusage usage{};
  ::wait4(child, &status, 0, &usage);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  outcome.peak_bytes = static_cast<int64_t>(usage.ru_maxrss) * 1024;
  return outcome;
}

std::string Workplace::make_folder(const std::string& name) const {
  fs::create_directories(path(name));
  return path(name);
}

std::vector<std::string> Workplace::list(const std::string& folder) const {
  std::vector<std::string> names;
  std::error_code code;
  for (const auto& entry : fs::recursive_directory_iterator(path(folder), code))
    names.push_back(fs::relative(entry.path(), path(folder)).string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string toy_checkpoint(const Workplace& place, const std::string& name, const std::string& toy,
                           const std::string& config) {
  std::string folder = place.make_folder(name), data = std::string(MLC_SOURCE_DIR) + "/tests/data/";
  std::string tokenizer = data + "weights/tokenizers/" + (toy == "llama" ? "llama/" : "gpt_neox/");
  fs::copy_file(toy_file(toy, "model.safetensors"), folder + "/model.safetensors");
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    fs::copy_file(tokenizer + file, folder + "/" + file);
  Json merged = read_json_file(toy_file(toy, "config.json")).value();
  merged.update(parse_json(config, "test").value());
  place.write(name + "/config.json", merged.dump());
  place.write(name + "/chat_template.jinja",
              "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}[assistant]");
  return folder;
}

std::string converted(const Workplace& place, const std::string& checkpoint, const std::string& quantization,
                      const std::string& name) {
  copy_kept_result("converted\n" + quantization + "\n" + fingerprint(checkpoint), place.path(name),
                   [&](const std::string& path) {
                     bool well = true;
                     for (const char* command : {"convert_weight", "gen_config"}) {
                       Outcome o =
                           run_mlc_llm({command, checkpoint, "--quantization", quantization, "-o", path});
                       EXPECT_EQ(o.exit_code, 0) << command << ": " << o.err;
                       well &= o.exit_code == 0;
                     }
                     return well;
                   });
  return place.path(name);
}

void remove_end_tokens(const std::string& folder) {
  std::string path = folder + "/mlc-chat-config.json";
  Json config = read_json_file(path).value();
  config["conv_template"]["stop_token_ids"] = Json::array();
  EXPECT_TRUE(write_file(path, config.dump(2)).is_ok());
}

std::string compiled(const Workplace& place, const std::string& folder, const std::string& name,
                     const std::vector<std::string>& flags) {
  const std::string key =
      "compiled\n" + join(flags, "\n") + "\n" + fingerprint(folder + "/mlc-chat-config.json");
  copy_kept_result(key, place.path(name), [&](const std::string& path) {
    std::vector<std::string> arguments = {"compile", folder, "--device", "cpu", "-o", path};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    Outcome o = run_mlc_llm(arguments);
    EXPECT_EQ(o.exit_code, 0) << o.err;
    return o.exit_code == 0;
  });
  return place.path(name);
}

void expect_error(const Outcome& outcome, const std::vector<std::string>& words) {
  EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
  const std::string& text = outcome.err;
  size_t at = text.rfind("error: ");
  EXPECT_TRUE(at == 0 || (at != std::string::npos && text[at - 1] == '\n')) << text;
  EXPECT_EQ(text.find("error: "), at) << "expected one error: " << text;
  EXPECT_EQ(text.find('\n', at), text.size() - 1) << "expected it last, on one line: " << text;
  for (const std::string& word : words)
    EXPECT_NE(text.find(word), std::string::npos) << "no '" << word << "' in: " << text;
  for (const char* bad : {"terminate", "internal", "a bug", "std::", " at 0x"})
    EXPECT_EQ(text.find(bad), std::string::npos) << text;
}

}  // namespace mlc::testing
