// Reads decimal numbers.
#include "base/number.h"

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <string>

namespace mlc {
namespace {

// Standard libraries without std::from_chars for numbers with a point (libc++ 19) have one locale where we
// use them: WebAssembly's.
template <typename Number>
bool read(std::string_view text, Number& value) {
  const char *begin = text.data(), *end = begin + text.size();
  if constexpr (requires(Number& n) { std::from_chars(begin, end, n); }) {
    Number number{};
    const auto [stop, error] = std::from_chars(begin, end, number);
    if (error != std::errc() || stop != end) return false;
    value = number;
    return true;
  } else {
    const bool plain = !text.empty() && text.find_first_of("xX+ \t\n\v\f\r") != 0 &&
                       text.find_first_of("xX") == std::string_view::npos;
    const std::string copy(text);
    char* stop = nullptr;
    errno = 0;
    const double number = plain ? std::strtod(copy.c_str(), &stop) : 0;
    if (!plain || stop != copy.c_str() + copy.size() || errno == ERANGE) return false;
    value = number;
    return true;
  }
}

}  // namespace

bool read_double(std::string_view text, double& value) { return read(text, value); }

}  // namespace mlc
