// What every fuzz target checks besides "does not crash": errors are one printable sentence that starts with
// the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/status.h"
#include "base/strings.h"

namespace mlc::fuzz {

inline const std::string kFile = "input";

inline void check_message(const std::string& message) {
  internal_check(message.starts_with(kFile), "a message starts with the file");
  internal_check(message.size() < 4096, "a message is one sentence");
  for (char c : message)
    internal_check(static_cast<unsigned char>(c) >= 32 && c != 127, "a message has no control bytes");
}

inline void check_status(const Status& status) {
  if (!status.is_ok()) check_message(status.message());
}

inline std::span<const std::byte> bytes_of(const uint8_t* data, size_t size) {
  return std::as_bytes(std::span(data, size));
}
inline std::string_view text_of(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace mlc::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
