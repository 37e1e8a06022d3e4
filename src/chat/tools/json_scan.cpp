// Brackets and quotes, byte by byte.
#include "chat/tools/json_scan.h"

#include <utility>

#include "base/json.h"

namespace mlc {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

std::string unquoted(const std::string& text) {
  auto value = parse_json(text, "text");
  return value.is_ok() && value->is_string() ? value->get<std::string>() : std::string();
}

}  // namespace

size_t JsonExtent::put(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (done_) return i;
    const char c = text[i];
    if (string_) {
      if (escaped_)
        escaped_ = false;
      else if (c == '\\')
        escaped_ = true;
      else if (c == '"')
        string_ = false, done_ = open_.empty();
      continue;
    }
    if (scalar_ && open_.empty() && (is_space(c) || c == ',' || c == '}' || c == ']')) {
      done_ = true;
      return i;
    }
    if (!begun_ && is_space(c)) continue;
    begun_ = true;
    if (c == '"') {
      string_ = true;
    } else if (c == '{' || c == '[') {
      open_ += c == '{' ? '}' : ']';
    } else if (c == '}' || c == ']') {
      if (open_.empty()) {  // belongs to what is around
        done_ = true;
        return i;
      }
      open_.pop_back();
      done_ = open_.empty();
    } else {
      scalar_ = open_.empty();
    }
  }
  return text.size();
}

size_t JsonCall::put(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (done_) return i;
    const char c = text[i];
    if (name_.empty()) raw_ += c;
    if (place_ == Place::kValue) {
      const bool inside = extent_.put(text.substr(i, 1)) == 1;
      if (inside) put_value(c);
      if (extent_.done()) end_value();
      if (inside) continue;  // else the byte behind a number is the object's own
    }
    if (!begun_) {
      begun_ = c == '{';
    } else if (place_ == Place::kKey && c == '"') {
      place_ = Place::kColon;
      key_ = "\"";
      extent_ = {};
      extent_.put("\"");
    } else if (place_ == Place::kColon && !extent_.done()) {
      extent_.put(text.substr(i, 1));
      key_ += c;
    } else if (place_ == Place::kColon && c == ':') {
      place_ = Place::kValue;
      key_ = unquoted(key_);
      extent_ = {};
      value_.clear();
    } else if (c == ',') {
      place_ = Place::kKey;
    } else if (c == '}') {
      done_ = true;
    }
  }
  return text.size();
}

void JsonCall::put_value(char c) {
  const bool arguments = key_ == "arguments" || key_ == "parameters";
  if (value_.empty() && is_space(c)) return;
  if (value_.empty()) wrapped_ = arguments && c == '"';
  value_ += c;
  if (arguments && !wrapped_) arguments_ += c;
}

void JsonCall::end_value() {
  place_ = Place::kComma;
  if (key_ == "name" && name_.empty()) name_ = unquoted(value_);  // the first counts: it may be shown already
  if (wrapped_) arguments_ += unquoted(value_);
  wrapped_ = false;
}

std::string JsonCall::take_arguments() { return name_.empty() ? "" : std::exchange(arguments_, ""); }

}  // namespace mlc
