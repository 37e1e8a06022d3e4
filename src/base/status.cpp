// Makes messages printable.
#include "base/status.h"

namespace mlc {

Status Status::error(std::string_view message) {
  Status s;
  s.failed_ = true;
  for (char c : message) {
    auto byte = static_cast<unsigned char>(c);
    if (byte >= 32 && byte != 127) {
      s.message_ += c;
    } else {
      constexpr char kDigits[] = "0123456789abcdef";
      s.message_ += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return s;
}

}  // namespace mlc
