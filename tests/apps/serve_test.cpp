// mlc_llm serve as a user starts it: from a checkpoint to answers over HTTP and an orderly end, and its
// mistakes.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <thread>

#include "base/strings.h"
#include "support/command.h"
#include "support/heads_folder.h"
#include "support/scripted_model.h"
#include "support/toys.h"

namespace mlc {
namespace {

using testing::expect_error;
using testing::run_mlc_llm;

// A server in a process of its own.
class ServeProcess {
 public:
  explicit ServeProcess(std::vector<std::string> arguments) {
    int pipe[2];
    if (::pipe(pipe) != 0) throw std::runtime_error("pipe");
    arguments.insert(arguments.begin(), {testing::mlc_llm_path(), "serve"});
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(pipe[1], STDOUT_FILENO);
      ::close(pipe[0]);
      std::vector<char*> argv;
      for (std::string& argument : arguments) argv.push_back(argument.data());
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(pipe[1]);
    output_ = pipe[0];
    const std::string before = "serving at http://127.0.0.1:";
    const std::string line = read_until("; Ctrl-C");
    const size_t at = line.find(before);
    if (at == std::string::npos) throw std::runtime_error("it does not serve: " + line);
    std::from_chars(line.data() + at + before.size(), line.data() + line.size(), port_);
  }
  ~ServeProcess() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    finish();
  }

  // Whether a sample comes to stand in the metrics, which are those of ended steps: the step that gave an
  // answer may just be ending.
  bool comes_to_count(const std::string& sample) const {
    for (int i = 0; i < 500; ++i, std::this_thread::sleep_for(std::chrono::milliseconds(20)))
      if (ask("/metrics", "").find(sample) != std::string::npos) return true;
    return false;
  }
  std::string ask(const std::string& path, const std::string& body) const {
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return "";
    const std::string request =
        str(body.empty() ? "GET " : "POST ", path,
            " HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: ", body.size(), "\r\n\r\n",
            body);
    if (::send(socket, request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
    std::string answer;
    char buffer[4096];
    for (ssize_t n; (n = ::recv(socket, buffer, sizeof buffer, 0)) > 0;)
      answer.append(buffer, static_cast<size_t>(n));
    ::close(socket);
    return answer;
  }
  // Its exit code after a kill.
  int end() {
    ::kill(pid_, SIGTERM);
    return finish();
  }

 private:
  std::string read_until(const std::string& end) {
    std::string text;
    char c;
    while (text.find(end) == std::string::npos && ::read(output_, &c, 1) == 1) text += c;
    return text;
  }
  int finish() {
    if (pid_ <= 0) return -1;
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    ::close(output_);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  pid_t pid_ = -1;
  int output_ = -1;
  uint16_t port_ = 0;
};

TEST(Serve, AdapterFlagsThatAreWrong) {
  expect_error(run_mlc_llm({"serve", "x", "--lora-adapter", "folder"}),
               {"--lora-adapter: found 'folder'", "NAME=FOLDER"});
  expect_error(run_mlc_llm({"serve", "x", "--lora-adapter", "a=b", "--lora-adapter", "a=c"}),
               {"--lora-adapter: found two called 'a'"});
  expect_error(
      run_mlc_llm({"serve", "x", "--lora-adapter", "a=b", "--lora-adapter", "c=d", "--max-loras", "1"}),
      {"--max-loras: found 1, expected at least the 2"});
}

TEST(Serve, FromACheckpointToAnswers) {
  testing::Workplace place;
  ::setenv("MLC_LLM_HOME", place.path("home").c_str(), 1);
  testing::ScriptedModel model =
      testing::scripted({.answer = {"Ol", "\xc3", "\xa9", "!"}, .merges = {{"O", "l"}}, .gpt2_order = true});
  const std::string folder = testing::write_folder(place.path("folder"), model);
  for (const char* mode : {"local", "interactive", "server"}) {
    ServeProcess server({folder, "--quantization", "q0f32", "--mode", mode, "--port", "0",
                         "--speculative-mode", mode == std::string("local") ? "ngram" : "disable"});
    const std::string models = server.ask("/v1/models", "");
    EXPECT_NE(models.find("\"id\":\"" + folder + "\""), std::string::npos) << models;
    const std::string answer =
        server.ask("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "Hi"}]})");
    EXPECT_NE(answer.find("\"content\":\"Olé!\""), std::string::npos) << answer;
    EXPECT_NE(answer.find("\"finish_reason\":\"stop\""), std::string::npos) << answer;
    EXPECT_EQ(server.end(), 0);
  }
  const std::string again = testing::write_folder(place.path("again"), model);
  const std::vector<std::string> drafting = {folder,
                                             "--quantization",
                                             "q0f32",
                                             "--speculative-mode",
                                             "small_draft",
                                             "--port",
                                             "0",
                                             "--overrides",
                                             "spec_draft_length=4",
                                             "--additional-models"};
  auto with = [&](const std::string& draft) {
    std::vector<std::string> flags = drafting;
    flags.push_back(draft);
    return flags;
  };
  {
    ServeProcess server(with(again));
    const std::string answer =
        server.ask("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "Hi"}]})");
    EXPECT_NE(answer.find("\"content\":\"Olé!\""), std::string::npos) << answer;
    EXPECT_TRUE(server.comes_to_count("spec_decode_accept_count\t3\n"))
        << "the first token is the prompt's; the others are proposed, and right";
    EXPECT_EQ(server.ask("/v1/models", "").find(again), std::string::npos) << "a draft model is not served";
    EXPECT_EQ(server.end(), 0);
  }
  const std::string other = testing::write_folder(place.path("other"), testing::hi());
  std::vector<std::string> refused = with(other);
  refused.insert(refused.begin(), "serve");
  expect_error(run_mlc_llm(refused), {"--additional-models: " + other + " has another vocabulary: its token",
                                      "name a smaller model of the same family"});
  expect_error(run_mlc_llm({"serve", folder, "--quantization", "q0f32", "--speculative-mode", "ngram",
                            "--overrides", "spec_tree_width=3"}),
               {"--overrides: spec_tree_width is 3", "takes no trees", "--tree-verify"});
  ::unsetenv("MLC_LLM_HOME");
}

// Heads that know what the scripted model says: what follows the token after this one, and two behind it.
std::string write_heads_of(const testing::ScriptedModel& model, const std::string& model_folder,
                           const std::string& folder) {
  const auto hidden = static_cast<size_t>(
      read_json_file(model_folder + "/config.json").value()["hidden_size"].get<int64_t>());
  const auto vocab = static_cast<size_t>(model.vocab_size());
  std::vector<testing::Rows> matrices(3, testing::Rows(vocab, std::vector<float>(hidden, 0)));
  auto after = [&](size_t token) { return static_cast<size_t>(model.next[token]); };
  for (size_t token = 0; token < vocab; ++token)
    for (size_t k = 0, then = after(after(token)); k < 3; ++k, then = after(then))
      matrices[k][then][token] = 1;
  testing::write_heads(folder, matrices);
  return folder;
}

TEST(Serve, HeadsDraft) {
  testing::Workplace place;
  ::setenv("MLC_LLM_HOME", place.path("home").c_str(), 1);
  testing::ScriptedModel model =
      testing::scripted({.answer = {"Ol", "\xc3", "\xa9", "!"}, .merges = {{"O", "l"}}, .gpt2_order = true});
  const std::string folder = testing::write_folder(place.path("folder"), model);
  const std::string heads = write_heads_of(model, folder, place.make_folder("heads"));
  auto with = [&](const std::string& head, const std::string& overrides) {
    std::vector<std::string> flags = {folder,   "--quantization", "q0f32", "--speculative-mode",
                                      "medusa", "--port",         "0",     "--additional-models",
                                      head};
    if (!overrides.empty()) flags.insert(flags.end(), {"--overrides", overrides});
    return flags;
  };
  for (const char* overrides : {"", "spec_draft_length=3"}) {
    ServeProcess server(with(heads, overrides));
    const std::string answer =
        server.ask("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "Hi"}]})");
    EXPECT_NE(answer.find("\"content\":\"Olé!\""), std::string::npos) << answer;
    if (overrides[0] != '\0') {  // else as it pays, and a head as large as its model may not
      EXPECT_TRUE(server.comes_to_count("spec_decode_accept_count\t3\n"))
          << "the first token is the prompt's; the others are proposed, and right";
    }
    EXPECT_EQ(server.ask("/v1/models", "").find(heads), std::string::npos) << "a head is not served";
    EXPECT_EQ(server.end(), 0);
  }
  auto refused = [&](std::vector<std::string> flags, const std::vector<std::string>& words) {
    flags.insert(flags.begin(), "serve");
    expect_error(run_mlc_llm(flags), words);
  };
  refused(with(folder, ""), {"--additional-models: " + folder + " is of a model of type llama",
                             "expected a draft head of type medusa"});
  refused(with(heads, "spec_draft_length=4"),
          {"--overrides: spec_draft_length is 4, expected at most 3: the head proposes 3 tokens in a row"});
  refused(with(heads, "spec_tree_width=2"), {"--overrides: spec_tree_width is 2", "--tree-verify"});
  const std::string toy = testing::toy_file("medusa", "");
  refused(with(toy, ""), {"--additional-models: " + toy + " reads hidden states of 64, the model's are of"});
  refused({heads, "--quantization", "q0f32"}, {heads + " is a draft head of type medusa"});
  ::unsetenv("MLC_LLM_HOME");
}

TEST(Serve, MistakesAreNamed) {
  testing::Workplace place;
  const std::string folder = place.make_folder("empty");
  auto error = [&](std::vector<std::string> flags, const std::vector<std::string>& words) {
    flags.insert(flags.begin(), {"serve", folder});
    expect_error(run_mlc_llm(flags), words);
  };
  error({"--mode", "fast"}, {"--mode", "fast"});
  error({"--speculative-mode", "eagle"}, {"--speculative-mode: eagle is not built yet"});
  error({"--speculative-mode", "large_draft"},
        {"--speculative-mode: found 'large_draft', expected disable, ngram, small_draft or medusa"});
  error({"--speculative-mode", "small_draft"},
        {"--additional-models: small_draft wants one model that drafts, found 0"});
  error({"--speculative-mode", "small_draft", "--additional-models", "x", "y"},
        {"--additional-models: small_draft wants one model that drafts, found 2"});
  error({"--speculative-mode", "medusa"},
        {"--additional-models: medusa wants one head that drafts, found 0"});
  error({"--embedding-model-lib", "x"}, {"--embedding-model-lib: found without --embedding-model"});
  error({"--pooling", "max"}, {"--pooling", "max"});
  error({"--enable-tracing"}, {"--enable-tracing"});
  error({"--prefill-mode", "chunked"}, {"--prefill-mode: chunked is not possible, expected hybrid"});
  error({"--allow-origins", "[1]"}, {"--allow-origins: found number, expected texts"});
  error({"--allow-origins", "[\"a\""}, {"--allow-origins: found '[\"a\"', expected a JSON list"});
  error({"--overrides", "max_num_sequenc=2"},
        {"--overrides: unknown key 'max_num_sequenc'", "max_num_sequence"});
  error({"--overrides", "max_num_sequence=0"}, {"--overrides: max_num_sequence is 0, expected 1 or more"});
  error({"--overrides", "gpu_memory_utilization=2"}, {"gpu_memory_utilization is 2"});
  error({"--overrides", "max_history_size=4"}, {"max_history_size=4 is not possible, expected 0"});
  error({"--port", "70000"}, {"--port"});
  error({}, {"empty"});
}

}  // namespace
}  // namespace mlc
