// Lines from the user.
#include "apps/cli/line_editor.h"

#include <histedit.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <iostream>
#include <utility>

namespace mlc::cli {
namespace {

unsigned char insert_newline(EditLine* editor, int) {
  return el_insertstr(editor, "\n") == 0 ? CC_REFRESH : CC_ERROR;
}

}  // namespace

struct LineEditor::Editor {
  std::string prompt;
  EditLine* line = nullptr;
  History* history = nullptr;

  static char* show_prompt(EditLine* line) {
    Editor* self = nullptr;
    el_get(line, EL_CLIENTDATA, &self);
    return self->prompt.data();
  }

  explicit Editor(std::string text) : prompt(std::move(text)) {
    std::setlocale(LC_CTYPE, "");
    line = el_init("mlc_llm", stdin, stdout, stderr);
    history = history_init();
    HistEvent event;
    ::history(history, &event, H_SETSIZE, 1000);
    el_set(line, EL_CLIENTDATA, this);
    el_set(line, EL_PROMPT, show_prompt);
    el_set(line, EL_EDITOR, "emacs");
    el_set(line, EL_SIGNAL, 0);
    el_set(line, EL_HIST, ::history, history);
    el_set(line, EL_ADDFN, "insert-newline", "start a new line in the entry", insert_newline);
    el_set(line, EL_BIND, "\033\r", "insert-newline", nullptr);
    el_set(line, EL_BIND, "\033\n", "insert-newline", nullptr);
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
    return line;
  }
  for (;;) {
    int count = 0;
    errno = 0;
    const char* text = el_gets(editor_->line, &count);
    if (!text && errno == EINTR) {  // Ctrl-C: a fresh prompt
      el_set(editor_->line, EL_UNBUFFERED, 0);
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
