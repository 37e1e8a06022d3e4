// One state machine for all formats; a step cuts the front of the buffer, or needs more text.
#include "chat/tools/answer_parser.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "base/strings.h"
#include "chat/tools/python_call.h"

namespace mlc {
namespace {

using namespace tool_tags;
using Kind = AnswerPartKind;

constexpr std::string_view kThinkOpen = "<think>", kThinkClose = "</think>", kSpace = " \n\r\t",
                           kRecipient = "to=functions.";

struct Found {
  size_t at = std::string::npos;  // where the first tag begins
  std::string_view tag;
};

Found find_first(std::string_view text, std::span<const std::string_view> tags) {
  Found found;
  for (std::string_view tag : tags)
    if (const size_t at = text.find(tag); at < found.at) found = {at, tag};
  return found;
}

// How many bytes at the end may be the beginning of a tag.
size_t held_back(std::string_view text, std::span<const std::string_view> tags) {
  size_t most = 0;
  for (std::string_view tag : tags)
    for (size_t n = std::min(text.size(), tag.size() - 1); n > most; --n)
      if (tag.starts_with(text.substr(text.size() - n))) most = n;
  return most;
}

bool is_space(std::string_view text) { return text.find_first_not_of(kSpace) == text.npos; }

std::string_view opening_of(ToolFormat format) {
  switch (format) {
    case ToolFormat::kHermes: return kHermesOpen;
    case ToolFormat::kMistral: return kMistralOpen;
    case ToolFormat::kLlama: return kPythonTag;
    case ToolFormat::kDeepSeek: return kCallsBegin;
    default: return "";
  }
}

}  // namespace

AnswerParser::AnswerParser(const AnswerForm& form) : form_(form) {
  if (form_.tools == ToolFormat::kHarmony)
    state_ = State::kHeader;
  else if (form_.opens_thinking)
    state_ = State::kThink;
}

void AnswerParser::put(std::string_view text, Parts& parts) {
  buffer_ += text;
  while (step(parts)) {
  }
}

void AnswerParser::finish(Parts& parts) {
  ended_ = true;
  while (!buffer_.empty() && step(parts)) {
  }
  const std::string rest = std::exchange(buffer_, "");
  switch (state_) {
    case State::kHeld: {
      std::vector<PythonCall> calls;
      if (!parse_python_calls(rest, calls)) return add(parts, Kind::kText, rest);
      for (const PythonCall& call : calls) {
        add(parts, Kind::kCall, call.name);
        add(parts, Kind::kArguments, json_text(call.arguments));
      }
      return;
    }
    case State::kThink: return add(parts, Kind::kReasoning, rest);
    case State::kMessage: return add(parts, message_, rest);
    case State::kArguments: return add(parts, Kind::kArguments, rest);
    case State::kHeader: return add(parts, Kind::kText, is_space(rest) || rest.starts_with('<') ? "" : rest);
    case State::kJsonCall:
      if (call_.name().empty()) give_up(parts, opening_ + call_.raw());
      return;
    case State::kCallEnd: return;
    default: return give_up(parts, opening_ + rest);
  }
}

void AnswerParser::add(Parts& parts, Kind kind, std::string text) {
  if (text.empty()) return;
  if (kind == Kind::kCall) {
    any_call_ = true;
    space_.clear();
  } else if (kind == Kind::kText && any_call_) {  // what stands between calls is no text
    space_ += text;
    if (is_space(space_)) return;
    text = std::exchange(space_, "");
    any_call_ = false;
  }
  if (!parts.empty() && parts.back().kind == kind && kind != Kind::kCall)
    parts.back().text += text;
  else
    parts.push_back({kind, std::move(text)});
}

// Not a call after all.
void AnswerParser::give_up(Parts& parts, std::string text) {
  state_ = State::kText;
  opening_.clear();
  add(parts, Kind::kText, std::move(text));
}

void AnswerParser::skip_space() {
  buffer_.erase(0, std::min(buffer_.find_first_not_of(kSpace), buffer_.size()));
}

bool AnswerParser::step(Parts& parts) {
  if (buffer_.empty()) return false;
  switch (state_) {
    case State::kBegin: return begin(parts);
    case State::kText: return text(parts);
    case State::kThink: return think(parts);
    case State::kCallStart: return call_start(parts);
    case State::kJsonCall: return json_call(parts);
    case State::kCallEnd: return call_end(parts);
    case State::kName: return name(parts);
    case State::kArguments: return arguments(parts);
    case State::kHeader: return header(parts);
    case State::kMessage: return message(parts);
    case State::kHeld: return false;
  }
  return false;
}

// Llama's and Python's calls are the whole answer; a think block may stand before.
bool AnswerParser::begin(Parts&) {
  if (strips_) skip_space();
  const size_t first = buffer_.find_first_not_of(kSpace);
  if (first == buffer_.npos) return false;
  const std::string_view rest = std::string_view(buffer_).substr(first);
  if (form_.thinks && !ended_ && kThinkOpen.starts_with(rest)) return false;
  if (form_.thinks && rest.starts_with(kThinkOpen)) {
    state_ = State::kText;
    buffer_.erase(0, first);
    return true;
  }
  if (form_.tools == ToolFormat::kLlama && rest.front() == '{') {
    opening_ = buffer_.substr(0, first);
    buffer_.erase(0, first);
    call_ = {};
    state_ = State::kJsonCall;
    return true;
  }
  state_ = form_.tools == ToolFormat::kPython ? State::kHeld : State::kText;
  return true;
}

bool AnswerParser::text(Parts& parts) {
  std::array<std::string_view, 2> all;
  size_t count = 0;
  if (form_.thinks) all[count++] = kThinkOpen;
  if (const std::string_view opening = opening_of(form_.tools); !opening.empty()) all[count++] = opening;
  const std::span<const std::string_view> tags(all.data(), count);
  const Found found = find_first(buffer_, tags);
  if (found.at == buffer_.npos) {
    const size_t shown = buffer_.size() - (ended_ ? 0 : held_back(buffer_, tags));
    add(parts, Kind::kText, buffer_.substr(0, shown));
    buffer_.erase(0, shown);
    return false;
  }
  add(parts, Kind::kText, buffer_.substr(0, found.at));
  buffer_.erase(0, found.at + found.tag.size());
  opening_ = found.tag;
  in_list_ = false;
  state_ = found.tag == kThinkOpen ? State::kThink : State::kCallStart;
  return true;
}

bool AnswerParser::think(Parts& parts) {
  const std::string_view tags[] = {kThinkClose};
  const Found found = find_first(buffer_, tags);
  const size_t shown =
      found.at != buffer_.npos ? found.at : buffer_.size() - (ended_ ? 0 : held_back(buffer_, tags));
  add(parts, Kind::kReasoning, buffer_.substr(0, shown));
  buffer_.erase(0, shown + found.tag.size());
  if (found.at == std::string::npos) return false;
  opening_.clear();
  state_ = State::kBegin;
  strips_ = true;
  return true;
}

bool AnswerParser::call_start(Parts& parts) {
  const size_t first = buffer_.find_first_not_of(kSpace);
  if (first == buffer_.npos) return false;
  const std::string_view rest = std::string_view(buffer_).substr(first);
  const bool deep_seek = form_.tools == ToolFormat::kDeepSeek;
  if (deep_seek) {
    if (!ended_ && kCallBegin.starts_with(rest) && rest.size() < kCallBegin.size()) return false;
    if (!rest.starts_with(kCallBegin)) return give_up(parts, opening_), true;
    opening_ += buffer_.substr(0, first + kCallBegin.size());
    buffer_.erase(0, first + kCallBegin.size());
    state_ = State::kName;
    return true;
  }
  if (form_.tools == ToolFormat::kMistral && rest.front() == '[' && !in_list_) {
    in_list_ = true;
    opening_ += buffer_.substr(0, first + 1);
    buffer_.erase(0, first + 1);
    return true;
  }
  if (rest.front() == '{') {
    opening_ += buffer_.substr(0, first);
    buffer_.erase(0, first);
    call_ = {};
    state_ = State::kJsonCall;
    return true;
  }
  if (form_.tools == ToolFormat::kMistral && !in_list_) {
    state_ = State::kName;
    return true;
  }
  give_up(parts, opening_);
  return true;
}

bool AnswerParser::json_call(Parts& parts) {
  const bool named = !call_.name().empty();
  buffer_.erase(0, call_.put(buffer_));
  if (!named && !call_.name().empty()) {
    opening_.clear();
    add(parts, Kind::kCall, call_.name());
  }
  add(parts, Kind::kArguments, call_.take_arguments());
  if (!call_.done()) return false;
  if (call_.name().empty()) {
    give_up(parts, opening_ + call_.raw());
    return true;
  }
  state_ = State::kCallEnd;
  return true;
}

// What closes a call, and what opens another beside it.
bool AnswerParser::call_end(Parts&) {
  skip_space();
  if (buffer_.empty()) return false;
  std::string_view close = kHermesClose;
  if (form_.tools == ToolFormat::kDeepSeek) {
    if (buffer_.starts_with("```")) return buffer_.erase(0, 3), true;
    for (std::string_view tag : {kCallEnd, kCallsEnd}) {
      if (buffer_.starts_with(tag)) return buffer_.erase(0, tag.size()), true;
      if (!ended_ && tag.starts_with(buffer_)) return false;
    }
    if (std::string_view("```").starts_with(buffer_) && !ended_) return false;
    if (!ended_ && kCallBegin.starts_with(buffer_) && buffer_.size() < kCallBegin.size()) return false;
    state_ = buffer_.starts_with(kCallBegin) ? State::kCallStart : State::kText;
    return true;
  }
  const char c = buffer_.front();
  const bool separates = (form_.tools == ToolFormat::kMistral && in_list_ && c == ',') ||
                         (form_.tools == ToolFormat::kLlama && c == ';');
  if (separates) {
    buffer_.erase(0, 1);
    state_ = State::kCallStart;
    return true;
  }
  if (form_.tools == ToolFormat::kMistral && in_list_ && c == ']') {
    buffer_.erase(0, 1);
    in_list_ = false;
    state_ = State::kText;
    return true;
  }
  if (form_.tools == ToolFormat::kHermes) {
    if (!ended_ && close.starts_with(buffer_) && buffer_.size() < close.size()) return false;
    if (buffer_.starts_with(close)) buffer_.erase(0, close.size());
  }
  state_ = State::kText;
  return true;
}

// function<sep>NAME\n```json\n{...}, NAME<sep>{...} (DeepSeek); NAME[ARGS]{...} or NAME{...} (Mistral).
bool AnswerParser::name(Parts& parts) {
  const size_t brace = buffer_.find('{');
  if (brace == buffer_.npos) return false;
  std::string head = buffer_.substr(0, brace);
  if (const size_t separator = head.find(kCallSeparator); separator != head.npos) {
    const std::string behind(trim(std::string_view(head).substr(separator + kCallSeparator.size())));
    head = behind.empty() ? head.substr(0, separator) : behind.substr(0, behind.find('\n'));
  }
  if (const size_t tag = head.find(kMistralArguments); tag != head.npos) head.resize(tag);
  head = std::string(trim(head));
  if (head.empty() || head.find_first_of(" \n\"") != head.npos) {
    give_up(parts, opening_);
    return true;
  }
  opening_.clear();
  buffer_.erase(0, brace);
  add(parts, Kind::kCall, head);
  extent_ = {};
  state_ = State::kArguments;
  return true;
}

bool AnswerParser::arguments(Parts& parts) {
  const size_t size = extent_.put(buffer_);
  add(parts, Kind::kArguments, buffer_.substr(0, size));
  buffer_.erase(0, size);
  if (!extent_.done()) return false;
  state_ = State::kCallEnd;
  return true;
}

bool AnswerParser::header(Parts& parts) {
  const std::string_view rest =
      std::string_view(buffer_).substr(std::min(buffer_.find_first_not_of(kSpace), buffer_.size()));
  const std::string_view openings[] = {kChannel, kStart, kEnd, kRecipient};
  const auto begins = [&](std::string_view opening) { return rest.starts_with(opening); };
  const auto may_begin = [&](std::string_view opening) { return !ended_ && opening.starts_with(rest); };
  if (!std::ranges::any_of(openings, begins)) {
    if (std::ranges::any_of(openings, may_begin)) return false;
    // No header at all: a model that was not asked to write one.
    message_ = Kind::kText;
    state_ = State::kMessage;
    return true;
  }
  const size_t end = buffer_.find(kMessage);
  if (end == buffer_.npos) return false;
  const std::string head = buffer_.substr(0, end);
  buffer_.erase(0, end + kMessage.size());
  message_ = head.find(str(kChannel, "analysis")) != head.npos ? Kind::kReasoning : Kind::kText;
  if (const size_t to = head.find(kRecipient); to != head.npos) {
    const std::string name = head.substr(to + kRecipient.size());
    message_ = Kind::kArguments;
    add(parts, Kind::kCall, name.substr(0, name.find_first_of(" <\n")));
  }
  state_ = State::kMessage;
  return true;
}

bool AnswerParser::message(Parts& parts) {
  const std::string_view tags[] = {kEnd, kCall, kReturn, kStart, kChannel};
  const Found found = find_first(buffer_, tags);
  const size_t shown =
      found.at != buffer_.npos ? found.at : buffer_.size() - (ended_ ? 0 : held_back(buffer_, tags));
  add(parts, message_, buffer_.substr(0, shown));
  const bool ends = found.at != buffer_.npos;
  const bool keeps = found.tag == kStart || found.tag == kChannel;  // the next header's own
  buffer_.erase(0, shown + (ends && !keeps ? found.tag.size() : 0));
  if (ends) state_ = State::kHeader;
  return ends;
}

}  // namespace mlc
