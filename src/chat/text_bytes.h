// Owns what comes back over the border of the text library. Used only inside src/chat.
#pragma once

#include <cstring>
#include <string>
#include <string_view>

#include "base/status.h"
#include "chat/text_ffi.h"

namespace mlc {

class TextBytes {
 public:
  TextBytes() = default;
  ~TextBytes() { mlc_text_free(bytes_); }
  TextBytes(const TextBytes&) = delete;
  TextBytes& operator=(const TextBytes&) = delete;

  MlcTextBytes* out() { return &bytes_; }
  std::string_view view() const { return {reinterpret_cast<const char*>(bytes_.data), bytes_.size}; }
  std::string text() const { return std::string(view()); }

 private:
  MlcTextBytes bytes_{nullptr, 0};
};

inline const uint8_t* text_data(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

}  // namespace mlc
