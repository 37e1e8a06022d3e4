// Reads the user's lines: with editing and history at a terminal (libedit; Esc then Enter starts a new line),
// plainly else.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace mlc::cli {

class LineEditor {
 public:
  explicit LineEditor(std::string prompt);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // The next entry without its newline, be it LF or CR LF; nullopt at the end of input. Ctrl-C at the prompt
  // drops the line; pasted lines are one entry.
  std::optional<std::string> read();
  bool interactive() const { return editor_ != nullptr; }

 private:
  struct Editor;
  std::unique_ptr<Editor> editor_;
  bool first_ = true;  // no line has been read
};

}  // namespace mlc::cli
