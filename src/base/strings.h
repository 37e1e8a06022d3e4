// Small text helpers: formatting, joining, splitting, and the nearest known name to a mistyped one.
#pragma once

#include <charconv>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace mlc {

// Appends what an ostream would print; text and integers without one, which costs more than they do.
template <typename T>
void append_part(std::string& out, const T& part) {
  if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    out += std::string_view(part);
  } else if constexpr (std::is_same_v<T, char>) {
    out += part;
  } else if constexpr (std::is_integral_v<T> && sizeof(T) > 1) {
    char digits[24];
    out.append(digits, std::to_chars(digits, digits + sizeof digits, part).ptr);
  } else {
    std::ostringstream stream;
    stream << part;
    out += stream.str();
  }
}

// Concatenates anything an ostream prints.
template <typename... Parts>
std::string str(const Parts&... parts) {
  std::string out;
  (append_part(out, parts), ...);
  return out;
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
