// internal_check: states what must hold if our own code is right. A failure is our bug, never the user's.
#pragma once

#include <source_location>
#include <string_view>

#include "base/strings.h"

namespace mlc {

// Prints the message with its place and aborts.
[[noreturn]] void internal_error(std::string_view message,
                                 std::source_location where = std::source_location::current());

// A condition and the place that states it.
struct CheckedCondition {
  CheckedCondition(bool holds, std::source_location where = std::source_location::current())
      : holds(holds), where(where) {}
  bool holds;
  std::source_location where;
};

// Aborts with the text of `parts` (str) unless the condition holds; the text is made only then.
template <typename... Parts>
void internal_check(CheckedCondition condition, const Parts&... parts) {
  if (!condition.holds) [[unlikely]]
    internal_error(str(parts...), condition.where);
}

}  // namespace mlc
