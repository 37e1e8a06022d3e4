// A recursive descent over the few forms that calls have.
#include "chat/tools/python_call.h"

#include <charconv>
#include <cstdint>

#include "base/number.h"
#include "base/strings.h"

namespace mlc {
namespace {

constexpr int kDeepest = 64;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool all(std::vector<PythonCall>& calls) {
    const bool list = take('[');
    while (!(list && take(']'))) {
      if (peek() == '"' || peek() == '\'') {
        std::string inner;
        if (!string(inner) || !Reader(inner).all(calls)) return false;
      } else if (!call(calls.emplace_back())) {
        return false;
      }
      if (!list) break;
      if (!take(',') && peek() != ']') return false;
    }
    take(';');
    return peek() == '\0' && at_ >= text_.size() && !calls.empty();
  }

 private:
  char peek() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(char c) {
    if (peek() != c || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }
  static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
  }
  std::string word(bool dots) {
    peek();
    const size_t begin = at_;
    while (at_ < text_.size() && (is_word(text_[at_]) || (dots && (text_[at_] == '.' || text_[at_] == '-'))))
      ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }

  bool call(PythonCall& call) {
    call.name = word(true);
    call.arguments = Json::object();
    if (call.name.empty() || !take('(')) return false;
    while (!take(')')) {
      const std::string key = word(false);
      if (key.empty() || !take('=') || !value(call.arguments[key], 0)) return false;
      if (!take(',') && peek() != ')') return false;
    }
    return true;
  }

  bool value(Json& result, int depth) {
    if (depth > kDeepest) return false;
    const char c = peek();
    if (c == '"' || c == '\'') {
      std::string text;
      if (!string(text)) return false;
      result = std::move(text);
      return true;
    }
    if (c == '[' || c == '(') return list(result, c == '[' ? ']' : ')', depth);
    if (c == '{') return dict(result, depth);
    if (c == '-' || c == '+' || (c >= '0' && c <= '9')) return number(result);
    const std::string name = word(false);
    if (name == "True" || name == "true" || name == "False" || name == "false")
      result = name == "True" || name == "true";
    else if (name == "None" || name == "null")
      result = nullptr;
    else
      return false;
    return true;
  }

  bool list(Json& result, char close, int depth) {
    ++at_;
    result = Json::array();
    while (!take(close)) {
      if (!value(result.emplace_back(), depth + 1)) return false;
      if (!take(',') && peek() != close) return false;
    }
    return true;
  }

  bool dict(Json& result, int depth) {
    ++at_;
    result = Json::object();
    while (!take('}')) {
      std::string key;
      peek();
      if (!string(key) || !take(':') || !value(result[key], depth + 1)) return false;
      if (!take(',') && peek() != '}') return false;
    }
    return true;
  }

  bool number(Json& result) {
    const size_t begin = at_;
    while (at_ < text_.size() &&
           (is_word(text_[at_]) || text_[at_] == '.' || text_[at_] == '-' || text_[at_] == '+'))
      ++at_;
    std::string_view digits = text_.substr(begin, at_ - begin);
    if (digits.starts_with('+')) digits.remove_prefix(1);
    const char* end = digits.data() + digits.size();
    int64_t whole = 0;
    if (auto [stop, error] = std::from_chars(digits.data(), end, whole);
        error == std::errc() && stop == end) {
      result = whole;
      return true;
    }
    double real = 0;
    const bool is_number = read_double(digits, real);
    result = real;
    return is_number && real - real == 0;
  }

  void add_code_point(std::string& text, uint32_t code) {
    if (code < 0x80) {
      text += static_cast<char>(code);
    } else if (code < 0x800) {
      text += static_cast<char>(0xC0 | code >> 6);
      text += static_cast<char>(0x80 | (code & 63));
    } else {
      text += static_cast<char>(0xE0 | code >> 12);
      text += static_cast<char>(0x80 | (code >> 6 & 63));
      text += static_cast<char>(0x80 | (code & 63));
    }
  }

  bool escape(std::string& text) {
    if (at_ >= text_.size()) return false;
    const char c = text_[at_++];
    if (c == 'u' || c == 'x') {
      const size_t digits = c == 'u' ? 4 : 2;
      if (at_ + digits > text_.size()) return false;
      uint32_t code = 0;
      const char* begin = text_.data() + at_;
      auto [stop, error] = std::from_chars(begin, begin + digits, code, 16);
      if (error != std::errc() || stop != begin + digits || (code >= 0xD800 && code < 0xE000)) return false;
      at_ += digits;
      add_code_point(text, code);
      return true;
    }
    constexpr std::string_view kNames = "nrtbf", kMeant = "\n\r\t\b\f";
    const size_t known = kNames.find(c);
    text += known == kNames.npos ? c : kMeant[known];
    return true;
  }

  bool string(std::string& text) {
    if (at_ >= text_.size()) return false;
    const char quote = text_[at_];
    if (quote != '"' && quote != '\'') return false;
    for (++at_; at_ < text_.size();) {
      const char c = text_[at_++];
      if (c == quote) return true;
      if (c != '\\')
        text += c;
      else if (!escape(text))
        return false;
    }
    return false;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

bool parse_python_calls(std::string_view text, std::vector<PythonCall>& calls) {
  calls.clear();
  if (Reader(text).all(calls)) return true;
  calls.clear();
  return false;
}

}  // namespace mlc
