// An answer's text, as it comes, cut into what the caller is shown, what the model only thinks, and its calls
// of tools.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/tools/json_scan.h"
#include "chat/tools/tool_format.h"

namespace mlc {

enum class AnswerPartKind : uint8_t {
  kText,
  kReasoning,  // of a think block or of an analysis channel
  kCall,       // a new call: the function's name
  kArguments,  // more of the JSON text of the last call's arguments
};

struct AnswerPart {
  AnswerPartKind kind = AnswerPartKind::kText;
  std::string text;
};

struct AnswerForm {
  ToolFormat tools = ToolFormat::kNone;  // kNone: calls are text (kHarmony is always read)
  bool thinks = false;                   // <think> ... </think> is reasoning
  bool opens_thinking = false;           // the prompt has opened the block
};

// What is no call after all comes out as text, as it was written. However the text is cut, the parts joined
// are the same.
class AnswerParser {
 public:
  explicit AnswerParser(const AnswerForm& form);
  void put(std::string_view text, std::vector<AnswerPart>& parts);
  // The answer has ended: what was held back.
  void finish(std::vector<AnswerPart>& parts);
  // Whether what comes next belongs to what the model thinks before it answers.
  bool thinks() const {
    return state_ == State::kThink || (state_ == State::kMessage && message_ == AnswerPartKind::kReasoning);
  }

 private:
  enum class State : uint8_t {
    kBegin,  // nothing but whitespace so far
    kText,
    kThink,
    kCallStart,  // behind what opens a call
    kJsonCall,   // in {"name", "arguments"}
    kCallEnd,    // behind a call
    kName,       // DeepSeek's and Mistral's name in front of arguments
    kArguments,
    kHeader,  // of a message of harmony
    kMessage,
    kHeld,  // Python's calls, read once they are whole
  };
  using Parts = std::vector<AnswerPart>;

  bool step(Parts& parts);
  bool begin(Parts& parts);
  bool text(Parts& parts);
  bool think(Parts& parts);
  bool call_start(Parts& parts);
  bool json_call(Parts& parts);
  bool call_end(Parts& parts);
  bool name(Parts& parts);
  bool arguments(Parts& parts);
  bool header(Parts& parts);
  bool message(Parts& parts);
  void add(Parts& parts, AnswerPartKind kind, std::string text);
  void give_up(Parts& parts, std::string text);
  void skip_space();

  AnswerForm form_;
  State state_ = State::kBegin;
  std::string buffer_;   // text that is not cut yet
  std::string opening_;  // what opened the call that has no name yet
  std::string space_;    // held back behind a call
  JsonCall call_;
  JsonExtent extent_;
  AnswerPartKind message_ = AnswerPartKind::kText;
  bool in_list_ = false, any_call_ = false, ended_ = false;
  bool strips_ = false;  // whitespace behind a think block is not shown
};

}  // namespace mlc
