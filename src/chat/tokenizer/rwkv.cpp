// Reads and writes RWKV vocabularies and tokenizes with a byte trie.
#include "chat/tokenizer/rwkv.h"

#include <charconv>

#include "base/strings.h"
#include "chat/tokenizer/byte_level.h"

namespace mlc {
namespace {

constexpr size_t kMaxEntries = 1 << 22;

// The value of a Python string or bytes literal, or nullopt when it is neither.
std::optional<std::string> python_literal(std::string_view text) {
  bool bytes = !text.empty() && text[0] == 'b';
  if (bytes) text.remove_prefix(1);
  if (text.size() < 2 || (text[0] != '\'' && text[0] != '"') || text.back() != text[0]) return std::nullopt;
  char quote = text[0];
  text = text.substr(1, text.size() - 2);
  std::string out;
  auto put = [&](uint32_t value) {
    if (bytes)
      out += static_cast<char>(value);
    else
      append_utf8(value, out);
  };
  auto number = [&](size_t& at, size_t digits, int base) -> std::optional<uint32_t> {
    if (at + digits > text.size()) return std::nullopt;
    uint32_t value = 0;
    const char* end = text.data() + at + digits;
    if (auto r = std::from_chars(text.data() + at, end, value, base); r.ec != std::errc() || r.ptr != end)
      return std::nullopt;
    at += digits;
    return value <= 0x10FFFF ? std::optional(value) : std::nullopt;
  };
  constexpr std::string_view kNames = "\\'\"nrtabfv", kValues = "\\'\"\n\r\t\a\b\f\v";
  for (size_t at = 0; at < text.size();) {
    char c = text[at++];
    if (c == quote) return std::nullopt;
    if (c != '\\') {
      out += c;
      continue;
    }
    if (at >= text.size()) return std::nullopt;
    char kind = text[at++];
    std::optional<uint32_t> value;
    if (size_t i = kNames.find(kind); i != std::string_view::npos) {
      value = static_cast<uint8_t>(kValues[i]);
    } else if (kind >= '0' && kind <= '7') {
      size_t digits = 1;
      --at;
      while (digits < 3 && at + digits < text.size() && text[at + digits] >= '0' && text[at + digits] <= '7')
        ++digits;
      value = number(at, digits, 8);
    } else if (kind == 'x' || (!bytes && (kind == 'u' || kind == 'U'))) {
      value = number(at, kind == 'x' ? 2 : kind == 'u' ? 4 : 8, 16);
    } else {  // Python keeps an unknown escape as it stands
      out += '\\';
      out += kind;
      continue;
    }
    if (!value) return std::nullopt;
    put(*value);
  }
  return out;
}

// Big-endian msgpack: the subset that a map of integers to byte strings needs.
class Msgpack {
 public:
  explicit Msgpack(std::string_view bytes) : rest_(bytes) {}
  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }

  uint64_t big_endian(size_t size) {
    uint64_t value = 0;
    for (char c : take(size)) value = value << 8 | static_cast<uint8_t>(c);
    return value;
  }
  uint8_t byte() { return static_cast<uint8_t>(big_endian(1)); }

  size_t map_size() {
    uint8_t tag = byte();
    if ((tag & 0xF0) == 0x80) return tag & 0x0F;
    if (tag == 0xDE) return big_endian(2);
    if (tag == 0xDF) return big_endian(4);
    ok_ = false;
    return 0;
  }
  uint64_t integer() {
    uint8_t tag = byte();
    if (tag < 0x80) return tag;
    if (tag >= 0xCC && tag <= 0xCF) return big_endian(size_t{1} << (tag - 0xCC));
    ok_ = false;
    return 0;
  }
  std::string_view bytes() {
    uint8_t tag = byte();
    if ((tag & 0xE0) == 0xA0) return take(tag & 0x1F);                                   // short str
    if (tag >= 0xC4 && tag <= 0xC6) return take(big_endian(size_t{1} << (tag - 0xC4)));  // bin
    if (tag >= 0xD9 && tag <= 0xDB) return take(big_endian(size_t{1} << (tag - 0xD9)));  // str
    ok_ = false;
    return {};
  }

 private:
  std::string_view take(uint64_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      return {};
    }
    std::string_view head = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return head;
  }
  std::string_view rest_;
  bool ok_ = true;
};

void put_big_endian(uint64_t value, int size, std::string& out) {
  for (int i = size - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}

// Tag of the smallest of the 1, 2 and 4 byte forms that holds `value`, then the value.
void put_sized(uint64_t value, uint8_t first_tag, std::string& out) {
  int step = value < 0x100 ? 0 : value < 0x10000 ? 1 : 2;
  out += static_cast<char>(first_tag + step);
  put_big_endian(value, 1 << step, out);
}

class RwkvTokenizer : public TokenizerBackend {
 public:
  explicit RwkvTokenizer(RwkvVocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {
    nodes_.emplace_back();
    for (const auto& [id, bytes] : vocabulary_) {
      int32_t node = 0;
      for (char c : bytes) {
        uint8_t b = static_cast<uint8_t>(c);
        if (!nodes_[node].next.count(b)) {
          nodes_[node].next[b] = static_cast<int32_t>(nodes_.size());
          nodes_.emplace_back();
        }
        node = nodes_[node].next[b];
      }
      if (node != 0) nodes_[node].id = id;
    }
  }

  Result<std::vector<int32_t>> encode(std::string_view text, bool /*special*/) const override {
    std::vector<int32_t> ids;
    std::string clean = lossy_utf8(text);
    for (size_t at = 0; at < clean.size();) {
      int32_t node = 0, best = -1;
      size_t best_end = at + 1;
      for (size_t end = at; end < clean.size();) {
        auto next = nodes_[node].next.find(static_cast<uint8_t>(clean[end++]));
        if (next == nodes_[node].next.end()) break;
        node = next->second;
        if (nodes_[node].id >= 0) {
          best = nodes_[node].id;
          best_end = end;
        }
      }
      if (best >= 0) ids.push_back(best);
      at = best_end;
    }
    return ids;
  }

  Result<std::string> decode(std::span<const int32_t> ids, bool) const override {
    std::string bytes;
    for (int32_t id : ids)
      if (auto it = vocabulary_.find(id); it != vocabulary_.end()) bytes += it->second;
    return lossy_utf8(bytes);
  }

  Result<std::vector<Token>> tokens() const override {
    std::vector<Token> tokens;
    for (const auto& [id, bytes] : vocabulary_) tokens.push_back({id, TokenKind::kOrdinary, bytes});
    return tokens;
  }

 private:
  struct Node {
    std::map<uint8_t, int32_t> next;
    int32_t id = -1;
  };
  RwkvVocabulary vocabulary_;
  std::vector<Node> nodes_;
};

}  // namespace

Result<RwkvVocabulary> read_rwkv_text(std::string_view text, const std::string& what) {
  RwkvVocabulary vocabulary;
  int line_number = 0;
  while (!text.empty()) {
    ++line_number;
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    size_t first = line.find(' '), last = line.rfind(' ');
    int32_t id = -1;
    int64_t length = -1;
    std::optional<std::string> bytes;
    if (first != std::string_view::npos && last > first) {
      std::from_chars(line.data(), line.data() + first, id);
      std::from_chars(line.data() + last + 1, line.data() + line.size(), length);
      bytes = python_literal(trim(line.substr(first, last - first)));
    }
    if (id < 0 || !bytes || static_cast<int64_t>(bytes->size()) != length ||
        !vocabulary.emplace(id, *bytes).second)
      return Status::error(str(what, ": line ", line_number, " is '", line.substr(0, 60),
                               "', expected a new '<id> <literal> <byte length>' whose length fits"));
  }
  if (vocabulary.empty()) return Status::error(str(what, ": the vocabulary is empty"));
  return vocabulary;
}

Result<RwkvVocabulary> read_rwkv_json(std::string_view text, const std::string& what) {
  auto json = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (json.is_discarded() || !json.is_object())
    return Status::error(str(what, ": expected a JSON object {token: id}; the file is damaged or truncated"));
  RwkvVocabulary vocabulary;
  for (const auto& item : json.items()) {
    if (!item.value().is_number_unsigned() || item.value().get<uint64_t>() > INT32_MAX)
      return Status::error(str(what, ": token '", item.key(), "' has ", json_text(item.value()).substr(0, 40),
                               ", expected an id"));
    vocabulary[item.value().get<int32_t>()] = item.key();
  }
  return vocabulary;
}

std::string write_rwkv_model(const RwkvVocabulary& vocabulary) {
  std::string out;
  size_t size = vocabulary.size();
  if (size < 16) {
    out += static_cast<char>(0x80 | size);
  } else {
    out += static_cast<char>(size < 0x10000 ? 0xDE : 0xDF);
    put_big_endian(size, size < 0x10000 ? 2 : 4, out);
  }
  for (const auto& [id, bytes] : vocabulary) {
    if (id < 0x80)
      out += static_cast<char>(id);
    else
      put_sized(static_cast<uint64_t>(id), 0xCC, out);
    put_sized(bytes.size(), 0xC4, out);
    out += bytes;
  }
  return out;
}

Result<RwkvVocabulary> read_rwkv_model(std::string_view msgpack, const std::string& what) {
  Msgpack reader(msgpack);
  RwkvVocabulary vocabulary;
  size_t count = reader.map_size();
  bool sane = reader.ok() && count > 0 && count <= kMaxEntries;
  for (size_t i = 0; sane && i < count; ++i) {
    uint64_t id = reader.integer();
    std::string_view bytes = reader.bytes();
    sane = reader.ok() && id <= INT32_MAX && vocabulary.emplace(static_cast<int32_t>(id), bytes).second;
  }
  if (!sane || !reader.at_end())
    return Status::error(
        str(what,
            ": not an RWKV vocabulary (a msgpack map of ids to bytes); the file is damaged or "
            "truncated"));
  return vocabulary;
}

std::unique_ptr<TokenizerBackend> make_rwkv_tokenizer(RwkvVocabulary vocabulary) {
  return std::make_unique<RwkvTokenizer>(std::move(vocabulary));
}

}  // namespace mlc
