// Conversions to tokenizer.json that need no model file of their own.
#include "chat/tokenizer/tokenizer_json.h"

#include <algorithm>
#include <charconv>
#include <unordered_map>
#include <unordered_set>

#include "base/strings.h"
#include "chat/tokenizer/byte_level.h"

namespace mlc {
namespace {

constexpr const char* kUnderline = "\xE2\x96\x81";  // U+2581

void append_string(std::string_view text, std::string& out) { out += json_text(std::string(text)); }

void append_bpe(const TokenizerParts& parts, std::string& out) {
  out += "{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":";
  if (parts.unknown.empty())
    out += "null";
  else
    append_string(parts.unknown, out);
  out += str(",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,\"fuse_unk\":",
             parts.byte_fallback ? "true" : "false",
             ",\"byte_fallback\":", parts.byte_fallback ? "true" : "false",
             ",\"ignore_merges\":", parts.ignore_merges ? "true" : "false", ",\"vocab\":{");
  bool first = true;
  for (const auto& [text, id] : parts.vocab) {
    out += first ? "" : ",";
    first = false;
    append_string(text, out);
    out += str(":", id);
  }
  out += "},\"merges\":[";
  first = true;
  for (const auto& [left, right] : parts.merges) {
    out += first ? "[" : ",[";
    first = false;
    append_string(left, out);
    out += ",";
    append_string(right, out);
    out += "]";
  }
  out += "]}";
}

void append_unigram(const TokenizerParts& parts, std::string& out) {
  out += str("{\"type\":\"Unigram\",\"unk_id\":", parts.unknown_id, ",\"vocab\":[");
  bool first = true;
  for (const auto& [text, score] : parts.scored_vocab) {
    out += first ? "[" : ",[";
    first = false;
    append_string(text, out);
    out += "," + json_text(score) + "]";
  }
  out += str("],\"byte_fallback\":", parts.byte_fallback ? "true" : "false", "}");
}

// Added tokens outside the vocabulary would get the next free ids instead of their own, so they join it.
void add_to_vocab(TokenizerParts& parts) {
  std::unordered_set<std::string> known;
  for (const auto& entry : parts.vocab) known.insert(entry.first);
  for (const AddedToken& token : parts.added)
    if (known.insert(token.text).second) parts.vocab.emplace_back(token.text, token.id);
}

// Calls `visit(line)` for every line, without its line end.
template <typename Visit>
Status each_line(std::string_view text, const Visit& visit) {
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    RETURN_IF_ERROR(visit(line));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return Status::ok();
}

Json byte_level(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json replace(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

Json sequence(const char* members, Json list) { return {{"type", "Sequence"}, {members, std::move(list)}}; }

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

}  // namespace

std::string shown(std::string_view text) {
  std::string escaped = json_text(std::string(text), -1, true);
  return "'" + escaped.substr(1, std::min<size_t>(escaped.size() - 2, 60)) + "'";
}

std::string added_tokens_json(const std::vector<AddedToken>& tokens) {
  std::string out = "[";
  for (const AddedToken& token : tokens) {
    auto flag = [&](const char* name, bool value) {
      out += str(",\"", name, "\":", value ? "true" : "false");
    };
    out += str(out.size() > 1 ? "," : "", "{\"id\":", token.id, ",\"content\":");
    append_string(token.text, out);
    flag("single_word", token.single_word);
    flag("lstrip", token.lstrip);
    flag("rstrip", token.rstrip);
    flag("normalized", token.normalized);
    flag("special", token.special);
    out += "}";
  }
  return out + "]";
}

std::string write_tokenizer_json(const TokenizerParts& parts) {
  std::string out = "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":" +
                    added_tokens_json(parts.added);
  out += ",\"normalizer\":" + json_text(parts.normalizer) +
         ",\"pre_tokenizer\":" + json_text(parts.pre_tokenizer) +
         ",\"post_processor\":null,\"decoder\":" + json_text(parts.decoder) + ",\"model\":";
  parts.scored_vocab.empty() ? append_bpe(parts, out) : append_unigram(parts, out);
  out += "}";
  return out;
}

std::vector<std::pair<std::string, std::string>> merges_from_scores(
    const std::vector<std::pair<std::string, double>>& scored) {
  std::unordered_map<std::string_view, size_t> index;
  for (size_t i = 0; i < scored.size(); ++i) index.emplace(scored[i].first, i);
  struct Merge {
    std::string_view left, right;
    double score;
    size_t left_length, right_length;  // in characters
  };
  std::vector<Merge> merges;
  for (const auto& [text, score] : scored) {
    std::string_view whole = text;
    size_t length = 0, first = merges.size();
    for (char c : whole) length += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
    size_t left_length = 0;
    for (size_t cut = 1; cut < whole.size(); ++cut) {
      if ((static_cast<uint8_t>(whole[cut]) & 0xC0) == 0x80) continue;
      ++left_length;
      if (index.count(whole.substr(0, cut)) && index.count(whole.substr(cut)))
        merges.push_back({whole.substr(0, cut), whole.substr(cut), score, left_length, length - left_length});
    }
    std::sort(merges.begin() + static_cast<ptrdiff_t>(first), merges.end(),
              [&](const Merge& a, const Merge& b) {
                return std::pair(index[a.left], index[a.right]) < std::pair(index[b.left], index[b.right]);
              });
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    if (a.score != b.score) return a.score > b.score;
    if (a.left_length != b.left_length) return a.left_length > b.left_length;
    return a.right_length > b.right_length;
  });
  std::vector<std::pair<std::string, std::string>> result;
  for (const Merge& merge : merges) result.emplace_back(merge.left, merge.right);
  return result;
}

Json sentencepiece_normalizer(bool prefix_space, bool collapse_spaces, const std::string& charsmap_base64) {
  Json list = Json::array();
  if (!charsmap_base64.empty())
    list.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", charsmap_base64}});
  if (collapse_spaces) {
    list.push_back({{"type", "Replace"}, {"pattern", {{"Regex", "\\A +| +\\z"}}}, {"content", ""}});
    list.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}});
  }
  if (prefix_space) list.push_back({{"type", "Prepend"}, {"prepend", kUnderline}});
  list.push_back(replace(" ", kUnderline));
  return sequence("normalizers", std::move(list));
}

Json sentencepiece_decoder(bool prefix_space) {
  Json list = {replace(kUnderline, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  if (prefix_space) list.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return sequence("decoders", std::move(list));
}

Result<std::vector<std::pair<std::string, int32_t>>> read_vocab(std::string_view text,
                                                                const std::string& what) {
  // Not Json: an ordered object searches its keys linearly.
  auto json = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (json.is_discarded() || !json.is_object())
    return Status::error(str(what, ": expected a JSON object {token: id}; the file is damaged or truncated"));
  std::vector<std::pair<std::string, int32_t>> vocab;
  for (const auto& item : json.items()) {
    const auto& id = item.value();
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
      std::string found = json_text(id, -1, true).substr(0, 40);
      return Status::error(str(what, ": token ", shown(item.key()), " has ", found, ", expected an id"));
    }
    vocab.emplace_back(item.key(), id.get<int32_t>());
  }
  std::sort(vocab.begin(), vocab.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return vocab;
}

Result<std::vector<std::pair<std::string, std::string>>> read_merges(std::string_view text,
                                                                     const std::string& what) {
  std::vector<std::pair<std::string, std::string>> merges;
  bool first = true;
  RETURN_IF_ERROR(each_line(text, [&](std::string_view line) {
    bool header = first && line.substr(0, 8) == "#version";
    first = false;
    if (header || line.empty()) return Status::ok();
    size_t space = line.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == line.size())
      return Status::error(str(what, ": merges.txt has the line ", shown(line), ", expected 'left right'"));
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
    return Status::ok();
  }));
  return merges;
}

Result<std::string> tokenizer_json_from_tiktoken(std::string_view text,
                                                 const std::vector<AddedToken>& special,
                                                 const std::string& split_regex, const std::string& what) {
  std::unordered_map<std::string, int32_t> ranks;
  std::vector<std::pair<std::string, int32_t>> tokens;
  RETURN_IF_ERROR(each_line(text, [&](std::string_view line) {
    if (line.empty()) return Status::ok();
    size_t space = line.find(' ');
    int32_t rank = -1;
    if (space != std::string_view::npos)
      std::from_chars(line.data() + space + 1, line.data() + line.size(), rank);
    if (rank < 0)
      return Status::error(str(what, ": the line ", shown(line), " found, expected 'base64 rank'"));
    ASSIGN_OR_RETURN(std::string bytes, decode_base64(line.substr(0, space), what));
    if (bytes.empty() || !ranks.emplace(bytes, rank).second)
      return Status::error(
          str(what, ": the token of rank ", rank, " is empty or a duplicate; the file is damaged"));
    tokens.emplace_back(std::move(bytes), rank);
    return Status::ok();
  }));
  if (tokens.empty()) return Status::error(str(what, ": no tokens found, expected lines of 'base64 rank'"));
  std::sort(tokens.begin(), tokens.end(), [](const auto& a, const auto& b) { return a.second < b.second; });

  TokenizerParts parts;
  for (const auto& [bytes, rank] : tokens) {
    parts.vocab.emplace_back(bytes_to_printable(bytes), rank);
    // Every split into two tokens is a merge of this rank; the one whose parts come first is tried first.
    std::vector<std::pair<int32_t, int32_t>> splits;
    std::vector<size_t> cuts;
    for (size_t cut = 1; cut < bytes.size(); ++cut) {
      auto left = ranks.find(bytes.substr(0, cut)), right = ranks.find(bytes.substr(cut));
      if (left == ranks.end() || right == ranks.end()) continue;
      splits.emplace_back(left->second, right->second);
      cuts.push_back(cut);
    }
    std::vector<size_t> order(cuts.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return splits[a] < splits[b]; });
    for (size_t i : order)
      parts.merges.emplace_back(bytes_to_printable(bytes.substr(0, cuts[i])),
                                bytes_to_printable(bytes.substr(cuts[i])));
  }
  parts.added = special;
  add_to_vocab(parts);
  parts.decoder = byte_level(/*add_prefix_space=*/true, /*use_regex=*/true);
  parts.pre_tokenizer = byte_level(/*add_prefix_space=*/false, /*use_regex=*/split_regex.empty());
  parts.ignore_merges = true;  // tiktoken looks a whole word up before it merges
  if (!split_regex.empty()) {
    Json split = {{"type", "Split"},
                  {"pattern", {{"Regex", split_regex}}},
                  {"behavior", "Isolated"},
                  {"invert", false}};
    parts.pre_tokenizer = sequence("pretokenizers", {split, parts.pre_tokenizer});
  }
  return write_tokenizer_json(parts);
}

Result<std::string> decode_base64(std::string_view text, const std::string& what) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text.substr(0, text.find('='))) {
    int digit = base64_digit(c);
    if (digit < 0)
      return Status::error(str(what, ": '", text.substr(0, 60), "' is not base64; the file is damaged"));
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if ((count += 6) >= 8) out += static_cast<char>(bits >> (count -= 8) & 0xFF);
  }
  return out;
}

std::string encode_base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    uint32_t bits = 0;
    size_t have = std::min<size_t>(3, bytes.size() - at);
    for (size_t i = 0; i < 3; ++i) bits = bits << 8 | (i < have ? static_cast<uint8_t>(bytes[at + i]) : 0);
    for (size_t i = 0; i < 4; ++i) out += i <= have ? kDigits[bits >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

}  // namespace mlc
