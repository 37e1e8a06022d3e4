// Decimal numbers of texts, whatever the locale.
#pragma once

#include <string_view>

namespace mlc {

// The number that `text` is, all of it: digits with an optional sign '-', point and exponent, also inf and
// nan. False, and `value` as it was, for anything else and for numbers that a double cannot hold.
bool read_double(std::string_view text, double& value);

}  // namespace mlc
