// Reads the side files of a tokenizer.
#include "chat/tokenizer/special_tokens.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "base/file.h"
#include "base/strings.h"

namespace mlc {
namespace {

constexpr std::string_view kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};

bool is_standard(std::string_view name) {
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

Status wrong(const std::string& what, std::string_view place, const Json& value, std::string_view expected) {
  std::string found = json_text(value, -1, true).substr(0, 40);
  return Status::error(str(what, ": ", shown(place), " has ", found, ", expected ", expected));
}

// A text, or an object with `content` and the flags of an AddedToken. Texts are special, objects when they
// say so.
Result<AddedToken> read_token(const Json& value, std::string_view place, const std::string& what) {
  AddedToken token;
  if (value.is_string()) {
    token.text = value.get<std::string>();
    return token;
  }
  std::optional<std::string> content = find_string(value, "content");
  if (!content) return wrong(what, place, value, "a token's text or an object with 'content'");
  token.text = *content;
  token.special = false;
  bool says_normalized = false;
  const std::pair<const char*, bool*> flags[] = {{"special", &token.special},
                                                 {"lstrip", &token.lstrip},
                                                 {"rstrip", &token.rstrip},
                                                 {"single_word", &token.single_word},
                                                 {"normalized", &token.normalized}};
  for (const auto& [name, flag] : flags) {
    const Json* given = find(value, name);
    if (!given) continue;
    if (!given->is_boolean()) return wrong(what, str(place, ".", name), *given, "true or false");
    *flag = given->get<bool>();
    says_normalized |= flag == &token.normalized;
  }
  if (!says_normalized) token.normalized = !token.special;
  return token;
}

Result<std::vector<AddedToken>> read_tokens(const Json& list, std::string_view place,
                                            const std::string& what) {
  std::vector<AddedToken> tokens;
  for (const Json& entry : list) {
    ASSIGN_OR_RETURN(AddedToken token, read_token(entry, place, what));
    token.special = true;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

bool contains(const std::vector<AddedToken>& tokens, const std::string& text) {
  return std::any_of(tokens.begin(), tokens.end(), [&](const AddedToken& t) { return t.text == text; });
}

Result<Json> parse_object(const std::string& text, const std::string& path) {
  ASSIGN_OR_RETURN(Json object, parse_json(text, path));
  if (!object.is_object())
    return Status::error(str(path, ": found ", object.type_name(), ", expected a JSON object"));
  return object;
}

// The extra tokens of one file: extra_special_tokens as a list, which joins an earlier file's, or as an
// object of further named tokens; additional_special_tokens, its old name, where no list is there yet.
Status read_extra(const Json& object, const std::string& what, TokenSettings& settings) {
  SpecialTokens& special = settings.special;
  const Json* extra = find(object, "extra_special_tokens");
  if (extra && extra->is_object()) {
    for (const auto& [name, value] : extra->items()) {
      ASSIGN_OR_RETURN(AddedToken token, read_token(value, str("extra_special_tokens.", name), what));
      special.set(name, std::move(token));
    }
    extra = nullptr;
  }
  const char* key = extra && !extra->empty() ? "extra_special_tokens" : "additional_special_tokens";
  const Json* list = find(object, key);
  bool old_list_counts = !settings.has_extra;
  settings.has_extra |= extra != nullptr;
  if (!list || (extra != list && !old_list_counts)) return Status::ok();
  if (!list->is_array()) return wrong(what, key, *list, "a list of tokens");
  ASSIGN_OR_RETURN(std::vector<AddedToken> tokens, read_tokens(*list, key, what));
  for (AddedToken& token : tokens)
    if (old_list_counts || !contains(special.extra, token.text)) special.extra.push_back(std::move(token));
  settings.has_extra = true;
  return Status::ok();
}

// The special tokens that tokenizer_config.json names.
Status read_config(const Json& config, const std::string& what, TokenSettings& settings) {
  for (const auto& [key, value] : config.items()) {
    bool standard = is_standard(key);
    if (standard && value.is_null()) settings.silent.push_back(key);
    bool custom = !standard && key.ends_with("_token") && (value.is_string() || find_string(value, "__type"));
    if ((!standard && !custom) || value.is_null()) continue;
    ASSIGN_OR_RETURN(AddedToken token, read_token(value, key, what));
    settings.special.set(key, std::move(token));
  }
  return read_extra(config, what, settings);
}

// Those of special_tokens_map.json: its standard ones win over the config's, its others come before the
// config's.
Status read_map(const Json& map, const std::string& what, TokenSettings& settings) {
  SpecialTokens& special = settings.special;
  SpecialTokens others;
  for (const auto& [key, value] : map.items()) {
    bool standard = is_standard(key);
    bool custom =
        !standard && key.ends_with("_token") && (value.is_string() || find_string(value, "content"));
    if ((!standard && !custom) || value.is_null()) continue;
    ASSIGN_OR_RETURN(AddedToken token, read_token(value, key, what));
    (standard ? special : others).set(key, std::move(token));
  }
  for (auto& [name, token] : special.named) others.set(name, std::move(token));
  special.named = std::move(others.named);
  return read_extra(map, what, settings);
}

// The ids of a decoder are the keys of its object.
Result<std::vector<AddedToken>> read_decoder(const Json& decoder, const std::string& what) {
  if (!decoder.is_object()) return wrong(what, "added_tokens_decoder", decoder, "an object {id: token}");
  std::map<int32_t, AddedToken> by_id;
  for (const auto& [key, value] : decoder.items()) {
    int32_t id = -1;
    auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0)
      return Status::error(
          str(what, ": added_tokens_decoder has the key ", shown(key), ", expected a token id"));
    if (!value.is_object())
      return wrong(what, str("added_tokens_decoder.", key), value, "an object with 'content'");
    ASSIGN_OR_RETURN(AddedToken token, read_token(value, str("added_tokens_decoder.", key), what));
    token.id = id;
    by_id[id] = std::move(token);
  }
  std::vector<AddedToken> tokens;
  for (auto& [id, token] : by_id) tokens.push_back(std::move(token));
  return tokens;
}

// added_tokens.json {text: id} and the vocabulary's own added tokens, which win where both use an id.
Result<std::vector<AddedToken>> read_legacy(const TokenizerSideFiles& files, const SpecialTokens& special,
                                            const std::vector<AddedToken>& present) {
  std::map<int64_t, AddedToken> by_id;
  if (!files.added_tokens.empty()) {
    std::string path = path_join(files.folder, "added_tokens.json");
    ASSIGN_OR_RETURN(Json object, parse_object(files.added_tokens, path));
    for (const auto& [text, id] : object.items()) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX)
        return wrong(path, text, id, "a token id");
      AddedToken token{id.get<int32_t>(), text};
      token.special = contains(special.extra, text);
      for (const auto& entry : special.named)
        token.special |= is_standard(entry.first) && entry.second.text == text;
      token.normalized = !token.special;
      by_id[token.id] = std::move(token);
    }
  }
  for (const AddedToken& token : present) by_id[token.id] = token;
  std::vector<AddedToken> tokens;
  for (auto& [id, token] : by_id) tokens.push_back(std::move(token));
  return tokens;
}

// What the map says otherwise than the config, although the config's decoder makes it unread.
void note_unread_map(const TokenizerSideFiles& files, TokenSettings& settings) {
  auto map = parse_json(files.special_tokens_map, "");
  if (!map.is_ok()) return;
  for (std::string_view name : kNames) {
    const Json* value = find(*map, name);
    if (!value) continue;
    std::string text =
        value->is_string() ? value->get<std::string>() : find_string(*value, "content").value_or("");
    if (text.empty() || text == settings.special.text(name)) continue;
    settings.notes.push_back(
        str(path_join(files.folder, "special_tokens_map.json"), ": its ", name, " ", shown(text),
            " is not used; tokenizer_config.json has added_tokens_decoder and is read alone, as "
            "transformers does"));
  }
}

}  // namespace

std::string SpecialTokens::text(std::string_view name) const {
  for (const auto& [key, token] : named)
    if (key == name) return token.text;
  return "";
}

void SpecialTokens::set(const std::string& name, AddedToken token) {
  token.special = true;
  auto rank = [](std::string_view key) {
    return std::find(std::begin(kNames), std::end(kNames), key) - std::begin(kNames);
  };
  auto at = std::find_if(named.begin(), named.end(), [&](const auto& entry) { return entry.first == name; });
  if (at != named.end()) {
    at->second = std::move(token);
    return;
  }
  at = std::find_if(named.begin(), named.end(),
                    [&](const auto& entry) { return rank(entry.first) > rank(name); });
  named.emplace(at, name, std::move(token));
}

Json SpecialTokens::variables() const {
  Json variables = Json::object();
  for (const auto& [name, token] : named) variables[name] = token.text;
  for (const AddedToken& token : extra) variables["additional_special_tokens"].push_back(token.text);
  return variables;
}

Json SpecialTokens::ids() const {
  Json ids = Json::object();
  for (const auto& [name, token] : named) ids[name + "_id"] = token.id;
  return ids;
}

Result<TokenSettings> read_token_settings(const TokenizerSideFiles& files,
                                          const std::vector<AddedToken>& present) {
  TokenSettings settings;
  std::string path = path_join(files.folder, "tokenizer_config.json");
  if (!files.tokenizer_config.empty()) {
    ASSIGN_OR_RETURN(settings.config, parse_object(files.tokenizer_config, path));
    RETURN_IF_ERROR(read_config(settings.config, path, settings));
  }
  if (const Json* decoder = find(settings.config, "added_tokens_decoder")) {
    ASSIGN_OR_RETURN(settings.listed, read_decoder(*decoder, path));
    if (!files.special_tokens_map.empty()) note_unread_map(files, settings);
    return settings;
  }
  if (!files.special_tokens_map.empty()) {
    path = path_join(files.folder, "special_tokens_map.json");
    ASSIGN_OR_RETURN(Json map, parse_object(files.special_tokens_map, path));
    RETURN_IF_ERROR(read_map(map, path, settings));
  }
  ASSIGN_OR_RETURN(settings.listed, read_legacy(files, settings.special, present));
  return settings;
}

std::vector<AddedToken> tokens_to_add(const TokenSettings& settings, const std::vector<AddedToken>& present) {
  std::vector<AddedToken> tokens;
  std::unordered_map<std::string, size_t> places;
  auto put = [&](AddedToken token) {  // twice: the first place, the last flags
    auto [place, is_new] = places.emplace(token.text, tokens.size());
    if (is_new)
      tokens.push_back(std::move(token));
    else
      tokens[place->second] = std::move(token);
  };
  std::vector<AddedToken> special;
  for (const auto& entry : settings.special.named) special.push_back(entry.second);
  std::unordered_set<std::string> named, known;
  for (const AddedToken& token : special) named.insert(token.text);
  for (const AddedToken& token : present) known.insert(token.text);
  for (AddedToken token : settings.listed) {
    known.insert(token.text);
    token.special |= named.contains(token.text);
    put(std::move(token));
  }
  special.insert(special.end(), settings.special.extra.begin(), settings.special.extra.end());
  for (const AddedToken& token : special) {
    if (token.text.empty()) continue;
    if (settings.plain_special)
      put({0, token.text});
    else if (!known.contains(token.text))
      put(token);
  }
  // What is there already with these flags: nothing to do, which is the rule.
  std::unordered_map<std::string_view, const AddedToken*> same;
  for (const AddedToken& token : present) same[token.text] = &token;
  std::erase_if(tokens, [&](AddedToken token) {
    auto it = same.find(token.text);
    if (it == same.end()) return false;
    token.id = it->second->id;
    return token == *it->second;
  });
  return tokens;
}

Result<std::vector<AddedToken>> read_added_tokens(const Json* list, const std::string& what) {
  std::vector<AddedToken> tokens;
  if (!list) return tokens;
  if (!list->is_array()) return wrong(what, "added_tokens", *list, "a list of tokens");
  for (const Json& entry : *list) {
    ASSIGN_OR_RETURN(AddedToken token, read_token(entry, "added_tokens", what));
    token.id = static_cast<int32_t>(std::clamp<int64_t>(find_int(entry, "id").value_or(0), 0, INT32_MAX));
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace mlc
