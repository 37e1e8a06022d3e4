// Lines from the user.
#include "apps/cli/line_editor.h"

#include <fcntl.h>
#include <histedit.h>
#include <langinfo.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string_view>
#include <utility>

#include "base/env.h"

namespace mlc::cli {
namespace {

// The write end of the editor's pipe: a signal leaves a byte there, so that none is lost between two reads.
volatile std::sig_atomic_t interrupts_to = -1;

void on_interrupt(int) {
  int error = errno;
  [[maybe_unused]] ssize_t n = ::write(interrupts_to, "", 1);  // a full pipe holds interrupts enough
  errno = error;
}

// While it lives, Ctrl-C ends a read at the prompt instead of the program.
class Interrupts {
 public:
  Interrupts() {
    if (::pipe2(pipe_, O_CLOEXEC | O_NONBLOCK) != 0)
      return;  // no descriptor is left: Ctrl-C ends the program
    interrupts_to = pipe_[1];
    struct sigaction action{};
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART;  // a write to the terminal goes on; the pipe ends a poll
    sigaction(SIGINT, &action, &before_);
  }
  ~Interrupts() {
    if (pipe_[0] < 0) return;
    sigaction(SIGINT, &before_, nullptr);
    ::close(pipe_[0]), ::close(pipe_[1]);
  }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  int descriptor() const { return pipe_[0]; }

  // Whether any came since the last call.
  bool take() {
    char bytes[64];
    bool any = false;
    while (::read(pipe_[0], bytes, sizeof bytes) > 0) any = true;
    return any;
  }

 private:
  int pipe_[2] = {-1, -1};
  struct sigaction before_{};
};

// One byte of the terminal: 1, 0 at its end, -1 when interrupted or broken. libedit's own reader tries again
// after the first Ctrl-C, so we read ourselves.
int read_byte(EditLine* line, const Interrupts& interrupts, unsigned char* byte) {
  for (;;) {
    struct pollfd ready[2] = {{STDIN_FILENO, POLLIN, 0}, {interrupts.descriptor(), POLLIN, 0}};
    if (::poll(ready, 2, -1) < 0) {
      if (errno != EINTR) return -1;
      if (::poll(&ready[1], 1, 0) == 0)
        el_set(line, EL_REFRESH);  // the window's size changed, or we were suspended
      continue;
    }
    if (ready[1].revents) return -1;
    ssize_t n = ::read(STDIN_FILENO, byte, 1);
    if (n >= 0) return static_cast<int>(n);
    if (errno != EINTR) return -1;
  }
}

// One UTF-8 character of the terminal, read as read_byte does; U+FFFD for what is none.
int read_character(EditLine* line, const Interrupts& interrupts, wchar_t* out) {
  unsigned char byte = 0;
  if (int n = read_byte(line, interrupts, &byte); n != 1) return n;
  int more = byte < 0x80 ? 0 : byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : byte >= 0xC0 ? 1 : -1;
  if (more < 0) {
    *out = 0xFFFD;
    return 1;
  }
  uint32_t value = more == 0 ? byte : byte & (0x3Fu >> more);
  for (int i = 0; i < more; ++i) {
    if (int n = read_byte(line, interrupts, &byte); n != 1) return n;
    value = value << 6 | (byte & 0x3Fu);
  }
  *out = value <= 0x10FFFF ? static_cast<wchar_t>(value) : wchar_t{0xFFFD};
  return 1;
}

// What terminals put around pasted text once they are asked to.
constexpr const char *kMarkPastes = "\033[?2004h", *kLeavePastes = "\033[?2004l", *kPasteBegins = "\033[200~";
constexpr std::wstring_view kPasteEnds = L"\033[201~";

void tell_terminal(const char* sequence) {
  if (env::terminal() == "dumb") return;
  std::fputs(sequence, stdout);
  std::fflush(stdout);
}

// Pasted text as one entry takes it: line breaks of any system, none at its end, nothing that could drive the
// terminal.
std::wstring cleaned(const std::wstring& pasted) {
  std::wstring text;
  for (size_t i = 0; i < pasted.size(); ++i) {
    wchar_t c = pasted[i];
    if (c == L'\r' && i + 1 < pasted.size() && pasted[i + 1] == L'\n') continue;
    if (c == L'\r') c = L'\n';
    if (c >= L' ' ? c != 127 : c == L'\n' || c == L'\t') text += c;
  }
  while (text.ends_with(L'\n')) text.pop_back();
  return text;
}

unsigned char insert_newline(EditLine* editor, int) {
  return el_insertstr(editor, "\n") == 0 ? CC_REFRESH : CC_ERROR;
}

// libedit turns characters into bytes by the locale. Where none is set (containers), UTF-8 is still what
// terminals send.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  if (std::strcmp(nl_langinfo(CODESET), "UTF-8") != 0) std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

struct LineEditor::Editor {
  std::string prompt;
  EditLine* line = nullptr;
  History* history = nullptr;
  Interrupts interrupts;

  static Editor* of(EditLine* line) {
    Editor* self = nullptr;
    el_get(line, EL_CLIENTDATA, &self);
    return self;
  }
  static char* show_prompt(EditLine* line) { return of(line)->prompt.data(); }
  static int next_character(EditLine* line, wchar_t* out) {
    return read_character(line, of(line)->interrupts, out);
  }
  // Pasted lines are one entry: their line breaks do not end it.
  static unsigned char insert_paste(EditLine* line, int) {
    std::wstring text;
    wchar_t c = 0;
    while (!text.ends_with(kPasteEnds)) {
      if (next_character(line, &c) != 1) return CC_ERROR;
      text += c;
    }
    text = cleaned(text.substr(0, text.size() - kPasteEnds.size()));
    return text.empty() || el_winsertstr(line, text.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
  }

  explicit Editor(std::string text) : prompt(std::move(text)) {
    use_utf8();
    line = el_init("mlc_llm", stdin, stdout, stderr);
    history = history_init();
    HistEvent event;
    ::history(history, &event, H_SETSIZE, 1000);
    el_set(line, EL_CLIENTDATA, this);
    el_set(line, EL_PROMPT, show_prompt);
    el_set(line, EL_EDITOR, "emacs");
    el_set(line, EL_SIGNAL, 1);  // the terminal is put in order before a signal takes effect
    el_set(line, EL_GETCFN, next_character);
    el_set(line, EL_HIST, ::history, history);
    el_set(line, EL_ADDFN, "insert-newline", "start a new line in the entry", insert_newline);
    el_set(line, EL_BIND, "\033\r", "insert-newline", nullptr);
    el_set(line, EL_BIND, "\033\n", "insert-newline", nullptr);
    el_set(line, EL_ADDFN, "insert-paste", "insert pasted text", insert_paste);
    el_set(line, EL_BIND, kPasteBegins, "insert-paste", nullptr);
    el_set(line, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  }
  ~Editor() {
    history_end(history);
    el_end(line);
  }
};

LineEditor::LineEditor(std::string prompt) {
  if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) editor_ = std::make_unique<Editor>(std::move(prompt));
}

LineEditor::~LineEditor() = default;

std::optional<std::string> LineEditor::read() {
  if (!editor_) {
    std::string line;
    if (!std::getline(std::cin, line)) return std::nullopt;
    if (std::exchange(first_, false) && line.starts_with("\xEF\xBB\xBF"))
      line.erase(0, 3);  // a byte order mark
    if (line.ends_with('\r')) line.pop_back();
    return line;
  }
  editor_->interrupts.take();  // those that came between two reads had no line to drop
  for (;;) {
    int count = 0;
    tell_terminal(kMarkPastes);
    const char* text = el_gets(editor_->line, &count);
    tell_terminal(kLeavePastes);
    if (!text && editor_->interrupts.take()) {  // a fresh prompt
      std::fputc('\n', stdout);
      continue;
    }
    if (!text || count <= 0) return std::nullopt;
    std::string line(text, static_cast<size_t>(count));
    if (line.back() == '\n') line.pop_back();
    if (!line.empty()) {
      HistEvent event;
      ::history(editor_->history, &event, H_ENTER, line.c_str());
    }
    return line;
  }
}

}  // namespace mlc::cli
