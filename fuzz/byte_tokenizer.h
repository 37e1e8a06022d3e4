// A vocabulary of single bytes: id 1 is byte 0, id 256 byte 255.
#pragma once

#include <memory>
#include <string>

#include "base/check.h"
#include "chat/tokenizer/tokenizer.h"

namespace mlc::fuzz {

inline std::shared_ptr<const Tokenizer> byte_tokenizer() {
  std::string msgpack = std::string("\xde\x01", 2) + std::string(1, '\0');  // a map of 256 entries
  for (int i = 0; i < 256; ++i) {
    msgpack += std::string("\xcd", 1) + std::string(1, static_cast<char>((i + 1) >> 8)) +
               std::string(1, static_cast<char>(i + 1));                           // uint16: id
    msgpack += std::string("\xc4\x01", 2) + std::string(1, static_cast<char>(i));  // bin8 of one byte
  }
  auto tokenizer = Tokenizer::from_rwkv(msgpack, "vocabulary");
  internal_check(tokenizer.is_ok(), tokenizer.status().message());
  return *tokenizer;
}

}  // namespace mlc::fuzz
