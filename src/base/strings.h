// Small text helpers: formatting, joining, splitting, and the nearest known name to a mistyped one.
#pragma once

#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace mlc {

// Concatenates anything an ostream prints.
template <typename... Parts>
std::string str(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::vector<std::string> split(std::string_view text, char separator);
std::string_view trim(std::string_view text);
// Bytes for people: "538.6 KB", "1.2 GB" (powers of 1000).
std::string human_bytes(double bytes);

// The candidate with the smallest edit distance to `name`, or "" when none is within half of its length.
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);
// "; did you mean 'x'?" with the nearest candidate, or "" when there is none.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates);

// Whether the bytes are well-formed UTF-8 (no overlong forms, surrogates or values past U+10FFFF).
bool is_valid_utf8(std::string_view bytes);

}  // namespace mlc
