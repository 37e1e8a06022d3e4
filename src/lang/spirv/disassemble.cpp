// SPIR-V as text.
#include <algorithm>
#include <cstring>
#include <map>
#include <span>

#include "base/strings.h"
#include "lang/spirv/emit.h"
#include "lang/spirv/module.h"

namespace mlc::lang::spirv {
namespace {

struct Row {
  const char *name, *operands;
};

const std::map<uint32_t, Row>& rows() {
  static const std::map<uint32_t, Row> table = {
#define MLC_SPIRV_ROW(name, number, operands) {number, {#name, operands}},
      MLC_SPIRV_OPS(MLC_SPIRV_ROW)
#undef MLC_SPIRV_ROW
  };
  return table;
}

// The zero-terminated string that starts at words[at]; `at` moves behind it.
std::string take_string(std::span<const uint32_t> words, size_t& at) {
  std::string text;
  for (; at < words.size(); ++at)
    for (int byte = 0; byte < 4; ++byte) {
      char c = static_cast<char>(words[at] >> (8 * byte));
      if (c == 0) return ++at, text;
      text += c;
    }
  return text;
}

std::string line(uint32_t number, std::span<const uint32_t> words) {
  auto found = rows().find(number);
  std::string name = found == rows().end() ? str("Op", number) : found->second.name;
  std::string pattern = found == rows().end() ? "l" : found->second.operands;
  std::string result, rest;
  for (size_t at = 0, i = 0; at < words.size(); ++i) {
    char kind = pattern.empty() ? 'l' : pattern[std::min(i, pattern.size() - 1)];
    if (kind == 's') {
      rest += " \"" + take_string(words, at) + "\"";
      continue;
    }
    if (kind == 'r')
      result = str("%", words[at], " = ");
    else
      rest += kind == 'l' ? str(" ", words[at]) : str(" %", words[at]);
    ++at;
  }
  return result + name + rest + "\n";
}

}  // namespace

std::string disassemble(const std::string& module) {
  Words words(module.size() / 4);
  std::memcpy(words.data(), module.data(), 4 * words.size());
  constexpr size_t kHeaderWords = 5;
  std::string text;
  for (size_t at = kHeaderWords; at < words.size();) {
    size_t count = std::max<size_t>(1, words[at] >> 16);
    count = std::min(count, words.size() - at);
    text += line(words[at] & 0xFFFF, std::span(words).subspan(at + 1, count - 1));
    at += count;
  }
  return text;
}

}  // namespace mlc::lang::spirv
