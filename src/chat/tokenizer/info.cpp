// Reads the head of a tokenizer.json: decoder, normalizer and added tokens.
#include "chat/tokenizer/info.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/strings.h"
#include "chat/tokenizer/byte_level.h"
#include "chat/tokenizer/tokenizer_json.h"

namespace mlc {
namespace {

constexpr std::string_view kUnderline = "\xE2\x96\x81";  // U+2581, SentencePiece's space

// The index after the string that begins at `at`, or npos.
size_t string_end(std::string_view text, size_t at) {
  for (size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] == '\\')
      ++i;
    else if (text[i] == '"')
      return i + 1;
  }
  return std::string_view::npos;
}

// The index after the object or list that begins at `at`, or npos.
size_t nested_end(std::string_view text, size_t at) {
  int64_t depth = 0;
  for (size_t i = at; i < text.size();) {
    if (text[i] == '"') {
      i = string_end(text, i);
      continue;
    }
    depth += text[i] == '{' || text[i] == '[' ? 1 : text[i] == '}' || text[i] == ']' ? -1 : 0;
    ++i;
    if (depth == 0) return i;
  }
  return std::string_view::npos;
}

// Where the value of `key` stands in the text of an object, found without parsing; only values that are
// objects or lists.
struct Place {
  size_t begin, end;
};
std::optional<Place> find_nested(std::string_view text, std::string_view key) {
  auto skip_space = [&](size_t i) { return std::min(text.find_first_not_of(" \t\r\n", i), text.size()); };
  std::string quoted = str("\"", key, "\"");
  int64_t depth = 0;
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '"') {
      depth += text[i] == '{' || text[i] == '[' ? 1 : text[i] == '}' || text[i] == ']' ? -1 : 0;
      ++i;
      continue;
    }
    size_t end = string_end(text, i);
    if (end == std::string_view::npos) break;
    size_t colon = skip_space(end), value = colon < text.size() ? skip_space(colon + 1) : text.size();
    if (depth == 1 && text.substr(i, end - i) == quoted && value < text.size() && text[colon] == ':' &&
        (text[value] == '{' || text[value] == '[')) {
      size_t after = nested_end(text, value);
      if (after != std::string_view::npos) return Place{value, after};
    }
    i = end;
  }
  return std::nullopt;
}

// `text` with `with` in the place.
std::string replaced(std::string_view text, Place place, std::string_view with) {
  return str(text.substr(0, place.begin), with, text.substr(place.end));
}

// The text with {} for "model", most of a tokenizer.json; unchanged where that is not found. The vocabulary's
// reader checks what is left out here.
std::string without_model(std::string_view text) {
  std::optional<Place> model = find_nested(text, "model");
  return model ? replaced(text, *model, "{}") : std::string(text);
}

// Parses everything but "model", whose vocabulary would dominate time and memory.
Result<Json> parse_head(std::string_view full, const std::string& what) {
  std::string text = without_model(full);
  Json::parser_callback_t keep = [](int depth, Json::parse_event_t event, Json& value) {
    return !(event == Json::parse_event_t::key && depth == 1 && value == "model");
  };
  Json head = Json::parse(text.begin(), text.end(), keep, /*allow_exceptions=*/false);
  if (head.is_discarded())
    return Status::error(str(what, ": not valid JSON; the file is damaged or truncated"));
  if (!head.is_object())
    return Status::error(str(what, ": expected a JSON object, found ", head.type_name()));
  return head;
}

// Calls `visit` on a component, or on each member of a Sequence of them (`members` names the list).
template <typename Visit>
void each_component(const Json* component, std::string_view members, const Visit& visit) {
  if (!component) return;
  if (find_string(*component, "type") != "Sequence") {
    visit(*component);
    return;
  }
  const Json* list = find(*component, members);
  if (!list || !list->is_array()) return;
  for (const Json& member : *list) visit(member);
}

Status refuse_duplicates(const Json& head, const std::string& what) {
  const Json* added = find(head, "added_tokens");
  if (!added || !added->is_array()) return Status::ok();
  std::set<std::string> seen;
  for (const Json& token : *added) {
    std::string content = find_string(token, "content").value_or("");
    if (!seen.insert(content).second)
      return Status::error(str(what, ": added_tokens has ", shown(content),
                               " twice, expected once; delete one of the two entries"));
  }
  return Status::ok();
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

Json TokenizerInfo::to_json() const {
  return {{"token_postproc_method", token_postproc_method},
          {"prepend_space_in_encode", prepend_space_in_encode},
          {"strip_space_in_decode", strip_space_in_decode}};
}

Result<TokenizerInfo> TokenizerInfo::from_json(const Json& object, const std::string& what) {
  TokenizerInfo info;
  info.token_postproc_method =
      find_string(object, "token_postproc_method").value_or(info.token_postproc_method);
  info.prepend_space_in_encode = find_bool(object, "prepend_space_in_encode").value_or(false);
  info.strip_space_in_decode = find_bool(object, "strip_space_in_decode").value_or(false);
  if (info.token_postproc_method != "byte_fallback" && info.token_postproc_method != "byte_level")
    return Status::error(str(what, ": token_postproc_method is '", info.token_postproc_method,
                             "', expected byte_fallback or byte_level"));
  return info;
}

Result<TokenizerInfo> detect_tokenizer_info(std::string_view tokenizer_json, const std::string& what,
                                            Json* added) {
  ASSIGN_OR_RETURN(Json head, parse_head(tokenizer_json, what));
  RETURN_IF_ERROR(refuse_duplicates(head, what));
  if (const Json* list = find(head, "added_tokens"); list && added) *added = *list;
  TokenizerInfo info;
  each_component(find(head, "decoder"), "decoders", [&](const Json& decoder) {
    std::string type = find_string(decoder, "type").value_or("");
    if (type == "ByteLevel") info.token_postproc_method = "byte_level";
    if (type == "ByteFallback") info.token_postproc_method = "byte_fallback";
    if (type == "Strip" && find_string(decoder, "content") == " " && find_int(decoder, "start") == 1 &&
        find_int(decoder, "stop") == 0)
      info.strip_space_in_decode = true;
  });
  each_component(find(head, "normalizer"), "normalizers", [&](const Json& normalizer) {
    if (find_string(normalizer, "type") == "Prepend" && find_string(normalizer, "prepend") == kUnderline)
      info.prepend_space_in_encode = true;
  });
  return info;
}

Result<std::string> replace_added_tokens(std::string_view tokenizer_json, std::string_view list,
                                         const std::string& what) {
  if (std::optional<Place> place = find_nested(tokenizer_json, "added_tokens"))
    return replaced(tokenizer_json, *place, list);
  size_t brace = tokenizer_json.find('{');
  if (brace == std::string_view::npos || tokenizer_json.find("\"added_tokens\"") != std::string_view::npos)
    return Status::error(what + ": added_tokens is no list; the file is damaged");
  return str(tokenizer_json.substr(0, brace + 1), "\"added_tokens\":", list, ",",
             tokenizer_json.substr(brace + 1));
}

std::string token_text_to_bytes(std::string_view token, const TokenizerInfo& info) {
  if (info.token_postproc_method == "byte_level")
    return printable_to_bytes(token).value_or(std::string(token));
  if (token.size() == 6 && token.substr(0, 3) == "<0x" && token[5] == '>') {
    int high = hex_digit(token[3]), low = hex_digit(token[4]);
    if (high >= 0 && low >= 0) return std::string(1, static_cast<char>(high * 16 + low));
  }
  std::string out;
  for (size_t at = 0; at < token.size();) {
    bool space = token.substr(at, kUnderline.size()) == kUnderline;
    out += space ? ' ' : token[at];
    at += space ? kUnderline.size() : 1;
  }
  return out;
}

}  // namespace mlc
