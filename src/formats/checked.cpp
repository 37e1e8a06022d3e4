// Text forms of shapes and of names that come from untrusted files.
#include "formats/checked.h"

#include "base/strings.h"

namespace mlc {

std::string shown_shape(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

std::string shown_name(std::string_view name) {
  constexpr size_t kLongest = 100;
  bool cut = name.size() > kLongest;
  if (cut) name = name.substr(0, kLongest);
  bool escape_high = !is_valid_utf8(name);
  std::string text = "'";
  for (char c : name) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 32 || byte == 127 || (byte >= 128 && escape_high)) {
      constexpr char digits[] = "0123456789abcdef";
      text += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    } else {
      text += c;
    }
  }
  return text + (cut ? "...'" : "'");
}

}  // namespace mlc
