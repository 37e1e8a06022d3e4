// chat at a terminal: a child under a pseudo terminal, keys in, screen out.
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "base/strings.h"
#include "support/command.h"

namespace mlc {
namespace {

using Clock = std::chrono::steady_clock;

class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& arguments) {
    struct winsize size{24, 200, 0, 0};
    child_ = ::forkpty(&master_, nullptr, nullptr, &size);
    if (child_ < 0)  // no test could end: nothing would ever come from the terminal
      throw std::runtime_error(
          str("no pseudo terminal: ", std::strerror(errno), "; mount devpts at /dev/pts"));
    if (child_ > 0) return;
    ::setenv("TERM", "xterm", 1);
    ::setenv("LC_ALL", "C", 1);  // as in a bare container
    std::string program = testing::mlc_llm_path();
    std::vector<char*> argv = {program.data()};
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  ~Terminal() {
    if (child_ > 0 && !ended_) ::kill(child_, SIGKILL), ::waitpid(child_, nullptr, 0);
    ::close(master_);
  }

  // At a prompt: keys typed before the program reads keys one by one would meet the terminal's own line
  // editing, which swallows a Ctrl-D.
  void type(const std::string& keys) {
    auto deadline = Clock::now() + std::chrono::minutes(5);
    struct termios mode{};
    while (::tcgetattr(master_, &mode) == 0 && (mode.c_lflag & ICANON) && Clock::now() < deadline)
      ::usleep(1000);
    interrupt_or_type(keys);
  }
  void interrupt() { interrupt_or_type("\x03"); }  // at any time

 private:
  void interrupt_or_type(const std::string& keys) {
    EXPECT_EQ(::write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }

 public:
  // Waits until the screen shows `text` after what was waited for before; returns what came up to and with
  // it.
  std::string wait_for(const std::string& text) {
    auto deadline = Clock::now() + std::chrono::minutes(5);
    for (;;) {
      if (size_t at = screen_.find(text, seen_); at != std::string::npos) {
        std::string part = screen_.substr(seen_, at + text.size() - seen_);
        seen_ = at + text.size();
        return part;
      }
      if (Clock::now() > deadline || !read_more()) break;
    }
    ADD_FAILURE() << "no '" << text << "' on the screen:\n" << screen_.substr(seen_);
    return "";
  }

  // Waits until the screen shows `bytes` more than what was waited for before.
  void wait_for_more(size_t bytes) {
    auto deadline = Clock::now() + std::chrono::minutes(5);
    while (screen_.size() < seen_ + bytes)
      if (Clock::now() > deadline || !read_more()) {
        ADD_FAILURE() << "less than " << bytes << " bytes on the screen:\n" << screen_.substr(seen_);
        return;
      }
  }

  // Waits until the program has ended by itself, which must be with success.
  void wait_for_end() {
    auto deadline = Clock::now() + std::chrono::minutes(5);
    while (Clock::now() < deadline && read_more()) {
    }
    int status = 0;
    ASSERT_LT(Clock::now(), deadline) << screen_;
    ::waitpid(child_, &status, 0);
    ended_ = true;
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status << " after\n"
                                                               << screen_;
  }

 private:
  bool read_more() {
    struct pollfd fd{master_, POLLIN, 0};
    if (::poll(&fd, 1, 1000) == 0) return true;
    char buffer[4096];
    ssize_t n = ::read(master_, buffer, sizeof buffer);
    if (n > 0) screen_.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }

  pid_t child_ = -1;
  int master_ = -1;
  bool ended_ = false;
  std::string screen_;
  size_t seen_ = 0;
};

class ChatTerminal : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    place_ = new testing::Workplace;
    std::string checkpoint = testing::toy_checkpoint(*place_);
    folder_ = testing::converted(*place_, checkpoint, "q4f16_1", "q4");
    testing::remove_end_tokens(folder_);
    // Positions are computed, not looked up: any context does, and this one is never full.
    library_ = testing::compiled(*place_, folder_, "q4.so",
                                 {"--overrides", "context_window_size=200000;prefill_chunk_size=64"});
  }
  static void TearDownTestSuite() { delete place_; }

  static std::vector<std::string> arguments() {
    return {"chat", folder_, "--model-lib", library_, "--overrides", "context_window_size=200000"};
  }
  static inline testing::Workplace* place_ = nullptr;
  static inline std::string folder_, library_;
};

TEST_F(ChatTerminal, PromptsAnswersAndEnds) {
  Terminal t(arguments());
  t.wait_for("Ctrl-C stops an answer.");
  t.wait_for(">>> ");
  t.type("/set max_tokens=3;temperature=0\r");
  t.wait_for(">>> ");
  t.type("hello\r");
  t.wait_for(">>> ");
  t.type("/metrics\r");
  t.wait_for("finished_requests\t1");
  t.wait_for(">>> ");
  t.type("/sats\r");
  t.wait_for("did you mean '/stats'");  // a mistake is told and forgiven
  t.wait_for(">>> ");
  t.type("\x04");  // Ctrl-D
  t.wait_for_end();
}

TEST_F(ChatTerminal, InterruptStopsTheAnswerAndNotTheProgram) {
  Terminal t(arguments());
  t.wait_for(">>> ");
  t.type("/set temperature=1;max_tokens=150000;seed=1\r");
  t.wait_for(">>> ");
  t.type("hello\r");
  t.wait_for("hello\r\n");
  t.wait_for_more(20);  // the answer has begun
  t.interrupt();
  t.wait_for(">>> ");
  t.type("/metrics\r");
  t.wait_for("finished_requests\t1");
  t.wait_for(">>> ");
  t.type("/exit\r");
  t.wait_for_end();
}

TEST_F(ChatTerminal, InterruptAtThePromptDropsTheLine) {
  Terminal t(arguments());
  t.wait_for(">>> ");
  t.type("/exit");
  t.wait_for("/exit");
  t.interrupt();  // one is enough
  t.wait_for(">>> ");
  t.type("/metrics\r");
  t.wait_for("finished_requests\t0");
  t.wait_for(">>> ");
  t.type("/exit\r");
  t.wait_for_end();
}

TEST_F(ChatTerminal, EscapeEnterStartsANewLine) {
  Terminal t(arguments());
  t.wait_for(">>> ");
  t.type("/set max_tokens=1\r");
  t.wait_for(">>> ");
  t.type("one\x1b\rtwo\r");
  t.wait_for(">>> ");
  t.type("/metrics\r");
  t.wait_for("finished_requests\t1");  // both lines were one message
  t.wait_for(">>> ");
  t.type("/exit\r");
  t.wait_for_end();
}

TEST_F(ChatTerminal, PastedLinesAreOneMessage) {
  Terminal t(arguments());
  t.wait_for("\x1b[?2004h");  // asks for marks around them
  t.type("/set max_tokens=1\r");
  t.wait_for(">>> ");
  t.type("\x1b[200~one\r\n\ntwo\rthree\r\x1b[201~\r");
  t.wait_for(">>> ");
  t.type("/metrics\r");
  t.wait_for("finished_requests\t1");
  t.wait_for(">>> ");
  t.type("\x1b[200~/exit\n\x1b[201~\r");
  t.wait_for_end();
}

TEST_F(ChatTerminal, HistoryBringsLinesBack) {
  Terminal t(arguments());
  t.wait_for(">>> ");
  t.type("/metrics\r");
  t.wait_for("finished_requests\t0");
  t.wait_for(">>> ");
  t.type("\x1b[A\r");  // arrow up
  t.wait_for("finished_requests\t0");
  t.wait_for(">>> ");
  t.type("/exit\r");
  t.wait_for_end();
}

TEST_F(ChatTerminal, OtherAlphabetsAndEditing) {
  Terminal t(arguments());
  t.wait_for(">>> ");
  t.type("/set ö→🙂x\x7f=1\r");  // backspace takes the x
  t.wait_for("unknown key 'ö→🙂'");
  t.wait_for(">>> ");
  t.type("/exit\r");
  t.wait_for_end();
}

}  // namespace
}  // namespace mlc
