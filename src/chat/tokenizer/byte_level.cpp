// The byte map of byte-level BPE and the UTF-8 steps that text streaming needs.
#include "chat/tokenizer/byte_level.h"

#include <array>

namespace mlc {
namespace {

constexpr uint32_t kFirstExtra = 0x100;  // the first code point that stands for a byte that is not printable
constexpr int kExtraCount = 68;          // 0x00-0x20 (33) + 0x7F-0xA0 (34) + 0xAD (1)

bool stands_for_itself(uint32_t b) { return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD); }

struct Map {
  std::array<uint32_t, 256> code_point{};
  std::array<uint8_t, kExtraCount> extra{};
  Map() {
    int next = 0;
    for (uint32_t b = 0; b < 256; ++b) {
      code_point[b] = stands_for_itself(b) ? b : kFirstExtra + next;
      if (!stands_for_itself(b)) extra[next++] = static_cast<uint8_t>(b);
    }
  }
};
const Map& map() {
  static const Map m;
  return m;
}

// Bytes that continue a character that starts with `lead`, and the allowed range of the first of them; -1:
// not a lead.
struct Lead {
  int more;
  uint8_t low, high;
};
Lead lead_of(uint8_t b) {
  if (b < 0x80) return {0, 0, 0};
  if (b >= 0xC2 && b <= 0xDF) return {1, 0x80, 0xBF};
  if (b >= 0xE0 && b <= 0xEF) return {2, uint8_t(b == 0xE0 ? 0xA0 : 0x80), uint8_t(b == 0xED ? 0x9F : 0xBF)};
  if (b >= 0xF0 && b <= 0xF4) return {3, uint8_t(b == 0xF0 ? 0x90 : 0x80), uint8_t(b == 0xF4 ? 0x8F : 0xBF)};
  return {-1, 0, 0};
}

// Bytes of `bytes` from `at` that begin one character: the count, and whether the character is complete.
struct Part {
  size_t length;
  bool whole;
};
Part part_at(std::string_view bytes, size_t at) {
  Lead lead = lead_of(static_cast<uint8_t>(bytes[at]));
  if (lead.more < 0) return {1, false};
  for (int i = 1; i <= lead.more; ++i) {
    if (at + i >= bytes.size()) return {static_cast<size_t>(i), false};
    uint8_t b = static_cast<uint8_t>(bytes[at + i]);
    if (b < (i == 1 ? lead.low : 0x80) || b > (i == 1 ? lead.high : 0xBF))
      return {static_cast<size_t>(i), false};
  }
  return {static_cast<size_t>(lead.more) + 1, true};
}

}  // namespace

std::string bytes_to_printable(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (char c : bytes) append_utf8(map().code_point[static_cast<uint8_t>(c)], out);
  return out;
}

std::optional<std::string> printable_to_bytes(std::string_view token) {
  std::string out;
  for (size_t at = 0; at < token.size();) {
    uint32_t c = next_code_point(token, at);
    if (c < 256 && stands_for_itself(c)) {
      out += static_cast<char>(c);
    } else if (c >= kFirstExtra && c < kFirstExtra + kExtraCount) {
      out += static_cast<char>(map().extra[c - kFirstExtra]);
    } else {
      return std::nullopt;
    }
  }
  return out;
}

void append_utf8(uint32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    if (c < 0x10000) {
      out += static_cast<char>(0xE0 | c >> 12);
    } else {
      out += static_cast<char>(0xF0 | c >> 18);
      out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    }
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

uint32_t next_code_point(std::string_view text, size_t& at) {
  uint8_t b = static_cast<uint8_t>(text[at++]);
  int more = b < 0xC0 ? 0 : b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
  uint32_t c = more == 0 ? b : b & (0x3F >> more);
  for (; more > 0 && at < text.size(); --more) c = c << 6 | (static_cast<uint8_t>(text[at++]) & 0x3F);
  return c;
}

std::string lossy_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    Part part = part_at(bytes, at);
    if (part.whole) {
      out += bytes.substr(at, part.length);
    } else {
      append_utf8(0xFFFD, out);
    }
    at += part.length;
  }
  return out;
}

size_t whole_characters(std::string_view bytes) {
  for (size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    size_t at = bytes.size() - back;
    if ((static_cast<uint8_t>(bytes[at]) & 0xC0) == 0x80) continue;  // inside a character
    Lead lead = lead_of(static_cast<uint8_t>(bytes[at]));
    return lead.more >= static_cast<int>(back) ? at : bytes.size();
  }
  return bytes.size();
}

}  // namespace mlc
