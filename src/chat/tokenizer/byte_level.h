// GPT-2's map between bytes and printable characters, in which byte-level BPE vocabularies are written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mlc {

// Each byte as its printable character: "a b" -> "aĠb". Bytes 0x21-0x7E, 0xA1-0xAC, 0xAE-0xFF stand for
// themselves as code points; the other 68 are U+0100 onwards in byte order.
std::string bytes_to_printable(std::string_view bytes);
// The inverse, or nullopt when a character of `token` is not in the map (an added token, for example).
std::optional<std::string> printable_to_bytes(std::string_view token);

// Appends the UTF-8 form of `code_point` (at most U+10FFFF) to `out`.
void append_utf8(uint32_t code_point, std::string& out);
// Reads one character of valid UTF-8 at `at` and moves past it.
uint32_t next_code_point(std::string_view text, size_t& at);
// `bytes` with every ill-formed sequence as U+FFFD, one per maximal part (Unicode 15, section 3.9).
std::string lossy_utf8(std::string_view bytes);
// The length of the longest head of `bytes` that is whole characters: 0 to 3 bytes less than its size.
size_t whole_characters(std::string_view bytes);

}  // namespace mlc
