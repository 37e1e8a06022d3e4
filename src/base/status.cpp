// Makes messages printable.
#include "base/status.h"

#include "base/strings.h"

namespace mlc {
namespace {

// Bytes of the character that `text` begins with; 0 where it is none that can be printed.
size_t printable_character(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 128) return byte(0) >= 32 && byte(0) != 127;
  if (byte(0) == 0xC2 && text.size() > 1 && byte(1) < 0xA0) return 0;  // U+0080 to U+009F drive terminals too
  for (size_t n = 2; n <= 4 && n <= text.size(); ++n)
    if (is_valid_utf8(text.substr(0, n))) return n;
  return 0;
}

}  // namespace

Status Status::error(std::string_view message) {
  Status s;
  s.failed_ = true;
  while (!message.empty()) {
    size_t n = printable_character(message);
    if (n == 0) {
      constexpr char kDigits[] = "0123456789abcdef";
      auto byte = static_cast<unsigned char>(message[0]);
      s.message_ += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
      n = 1;
    } else {
      s.message_ += message.substr(0, n);
    }
    message.remove_prefix(n);
  }
  return s;
}

}  // namespace mlc
