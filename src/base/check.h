// internal_check: states what must hold if our own code is right. A failure is our bug, never the user's.
#pragma once

#include <source_location>
#include <string_view>

namespace mlc {

// Prints the message with its place and aborts.
[[noreturn]] void internal_error(std::string_view message,
                                 std::source_location where = std::source_location::current());

inline void internal_check(bool condition, std::string_view message,
                           std::source_location where = std::source_location::current()) {
  if (!condition) [[unlikely]]
    internal_error(message, where);
}

}  // namespace mlc
