// Rewrites what Python's json module reads beyond the standard.
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "base/json.h"
#include "base/strings.h"

namespace mlc {
namespace {

// One pass over a text that copies it but for what has to change.
class Standardizer {
 public:
  explicit Standardizer(std::string_view text) : text_(text) {}

  std::optional<std::string> run() {
    while (text_.substr(at_).starts_with("\xEF\xBB\xBF")) replace(3, "");
    while (at_ < text_.size()) {
      char c = text_[at_];
      if (c == '"')
        read_string();
      else if (std::isalnum(static_cast<unsigned char>(c)) || c == '-')
        read_word();
      else
        ++at_;
    }
    if (copied_ == 0) return std::nullopt;
    return out_.append(text_.substr(copied_));
  }

 private:
  enum class Half { kNone, kHigh, kLow };

  void replace(size_t length, std::string_view by) {
    out_.append(text_.substr(copied_, at_ - copied_)).append(by);
    at_ += length;
    copied_ = at_;
  }

  // Which half of a surrogate pair the escape at `at` is: \uD800 to \uDBFF, \uDC00 to \uDFFF.
  Half half_at(size_t at) const {
    std::string_view escape = text_.substr(std::min(at, text_.size())).substr(0, 6);
    if (escape.size() < 6 || escape[0] != '\\' || escape[1] != 'u' || std::toupper(escape[2]) != 'D')
      return Half::kNone;
    char digit = static_cast<char>(std::toupper(escape[3]));
    if (digit == '8' || digit == '9' || digit == 'A' || digit == 'B') return Half::kHigh;
    return digit >= 'C' && digit <= 'F' ? Half::kLow : Half::kNone;
  }

  void read_string() {
    for (++at_; at_ < text_.size() && text_[at_] != '"';) {
      Half half = half_at(at_);
      if (half == Half::kHigh && half_at(at_ + 6) == Half::kLow)
        at_ += 12;
      else if (half != Half::kNone)
        replace(6, "\\ufffd");
      else
        at_ += text_[at_] == '\\' ? 2 : 1;
    }
    ++at_;
  }

  void read_word() {
    size_t end = at_;
    auto belongs = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '+' || c == '.';
    };
    while (end < text_.size() && belongs(text_[end])) ++end;
    std::string word(text_.substr(at_, end - at_));
    bool named = word == "NaN" || word == "Infinity" || word == "-Infinity";
    bool number = word.find_first_not_of("0123456789+-.eE") == std::string::npos;
    double value = named || number ? std::strtod(word.c_str(), nullptr) : 0;
    if (std::isfinite(value))
      at_ = end;
    else
      replace(end - at_, str("\"\\u0000\\u0000",
                             std::isnan(value) ? "NaN"
                             : value < 0       ? "-Infinity"
                                               : "Infinity",
                             "\""));
  }

  std::string_view text_;
  std::string out_;
  size_t at_ = 0, copied_ = 0;
};

}  // namespace

std::optional<std::string> standard_json(std::string_view text) { return Standardizer(text).run(); }

}  // namespace mlc
