// Reads a folder's tokenizer: the first usable vocabulary, then the side files.
#include "chat/tokenizer/folder.h"

#include <algorithm>

#include "base/file.h"
#include "base/platform/platform.h"
#include "base/strings.h"
#include "chat/tokenizer/huggingface.h"
#include "chat/tokenizer/info.h"
#include "chat/tokenizer/rwkv.h"
#include "chat/tokenizer/sentencepiece.h"
#include "chat/tokenizer/tokenizer_json.h"

namespace mlc {
namespace {

// What a vocabulary of any form needs to know of the folder.
struct Context {
  std::string folder;
  TokenizerSideFiles side;
  Json config;  // tokenizer_config.json
  std::string model_type;
  const TokenizerFamily* family = nullptr;
  std::optional<TokenizerInfo> info;
};

Status read_if_there(const std::string& folder, const char* name, std::string& text) {
  std::string path = path_join(folder, name);
  if (!file_exists(path)) return Status::ok();
  ASSIGN_OR_RETURN(text, read_file(path));
  // An empty file is damaged, not absent.
  if (text.empty()) return Status::error(path + ": the file is empty; copy it again from the model's source");
  return Status::ok();
}

// A config that is no JSON is not this file's affair: model_type is only asked for.
std::string model_type_of(const std::string& folder) {
  for (const char* name : {"config.json", "mlc-chat-config.json"}) {
    std::string path = path_join(folder, name);
    if (!file_exists(path)) continue;
    auto config = read_json_file(path);
    if (config.is_ok()) return find_string(*config, "model_type").value_or("");
  }
  return "";
}

Result<Context> read_context(const std::string& folder, std::optional<TokenizerInfo> info) {
  Context context{.folder = folder, .side = {.folder = folder}, .config = {}, .info = std::move(info)};
  RETURN_IF_ERROR(read_if_there(folder, "tokenizer_config.json", context.side.tokenizer_config));
  RETURN_IF_ERROR(read_if_there(folder, "special_tokens_map.json", context.side.special_tokens_map));
  RETURN_IF_ERROR(read_if_there(folder, "added_tokens.json", context.side.added_tokens));
  if (!context.side.tokenizer_config.empty()) {
    ASSIGN_OR_RETURN(context.config,
                     parse_json(context.side.tokenizer_config, path_join(folder, "tokenizer_config.json")));
  }
  context.model_type = model_type_of(folder);
  context.family =
      find_tokenizer_family(find_string(context.config, "tokenizer_class").value_or(""), context.model_type);
  return context;
}

Result<FolderTokenizer> from_tokenizer_json(const Context& context, const std::string& path) {
  ASSIGN_OR_RETURN(std::string json, read_file(path));
  return unite_tokenizer(std::move(json), path, context.side, context.family, /*whole=*/true, context.info);
}

// tiktoken's text: "base64 rank" lines.
bool looks_like_tiktoken(std::string_view bytes) {
  std::string_view line = bytes.substr(0, bytes.find('\n'));
  size_t space = line.find(' ');
  return space != std::string_view::npos && space > 0 && space + 1 < line.size() &&
         decode_base64(line.substr(0, space), "").is_ok() &&
         line.find_first_not_of("0123456789\r", space + 1) == std::string_view::npos;
}

Result<FolderTokenizer> from_tiktoken(const Context& context, const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, read_file(path));
  ASSIGN_OR_RETURN(TokenSettings settings, read_token_settings(context.side, {}));
  ASSIGN_OR_RETURN(std::string json, tokenizer_json_from_tiktoken(text, settings.listed, "", path));
  return unite_tokenizer(std::move(json), path, context.side, context.family, /*whole=*/false, context.info);
}

Result<FolderTokenizer> from_model_file(const Context& context, const std::string& path) {
  ASSIGN_OR_RETURN(std::string bytes, read_file(path));
  if (looks_like_tiktoken(bytes)) return from_tiktoken(context, path);
  bool start_only = prefixes_start_only(context.config, context.model_type);
  SentencePieceNames names;
  ASSIGN_OR_RETURN(std::string json, tokenizer_json_from_sentencepiece(bytes, path, start_only, &names));
  TokenizerFamily own;
  if (!names.bos.empty()) own.special.emplace_back("bos_token", names.bos);
  if (!names.eos.empty()) own.special.emplace_back("eos_token", names.eos);
  if (!names.unknown.empty()) own.special.emplace_back("unk_token", names.unknown);
  return unite_tokenizer(std::move(json), path, context.side, context.family ? context.family : &own,
                         /*whole=*/false, context.info);
}

Result<FolderTokenizer> from_vocab_and_merges(const Context& context, const std::string& path) {
  ASSIGN_OR_RETURN(std::string vocab, read_file(path));
  ASSIGN_OR_RETURN(std::string merges, read_file(path_join(context.folder, "merges.txt")));
  bool prefix = find_bool(context.config, "add_prefix_space").value_or(false);
  ASSIGN_OR_RETURN(std::string json,
                   tokenizer_json_from_vocab_and_merges(vocab, merges, context.family, prefix, path));
  return unite_tokenizer(std::move(json), path, context.side, context.family, /*whole=*/false, context.info);
}

Result<FolderTokenizer> from_rwkv(const Context& context, const std::string& path) {
  ASSIGN_OR_RETURN(std::string bytes, read_file(path));
  ASSIGN_OR_RETURN(auto vocabulary, read_rwkv_model(bytes, path));
  ASSIGN_OR_RETURN(TokenSettings settings, read_token_settings(context.side, {}));
  FolderTokenizer result;
  ASSIGN_OR_RETURN(result.tokenizer,
                   Tokenizer::build(make_rwkv_tokenizer(std::move(vocabulary)), TokenizerInfo{},
                                    /*text_is_bytes=*/true, std::move(settings.special), path));
  result.file = path;
  return result;
}

using Reader = Result<FolderTokenizer> (*)(const Context&, const std::string& path);

// The vocabularies that are there, best first.
std::vector<std::pair<std::string, Reader>> find_vocabularies(const std::string& folder) {
  std::vector<std::pair<std::string, Reader>> found;
  auto add = [&](const char* name, Reader reader) {
    if (std::string path = path_join(folder, name); file_exists(path)) found.emplace_back(path, reader);
  };
  add("tokenizer.json", from_tokenizer_json);
  add("tokenizer.model", from_model_file);
  if (file_exists(path_join(folder, "merges.txt"))) add("vocab.json", from_vocab_and_merges);
  add("tokenizer_model", from_rwkv);
  for (const std::string& name : platform::folder_names(folder))
    if (name.ends_with(".tiktoken")) add(name.c_str(), from_tiktoken);
  return found;
}

// The family's special tokens where no file speaks of them; in a tokenizer.json (`whole`) only those that it
// has.
void add_family_tokens(const TokenizerFamily& family, const std::string& json, bool whole,
                       TokenSettings& settings) {
  for (const auto& [name, text] : family.special) {
    bool silenced = std::find(settings.silent.begin(), settings.silent.end(), name) != settings.silent.end();
    if (silenced || !settings.special.text(name).empty()) continue;
    if (!whole || json.find(str("\"", text, "\"")) != std::string::npos)
      settings.special.set(name, AddedToken{0, text});
  }
}

// Ids that a side file gives and the vocabulary does not: transformers numbers tokens by their order.
void note_moved_ids(const TokenSettings& settings, const Tokenizer& tokenizer, FolderTokenizer& result) {
  int moved = 0;
  std::string first;
  for (const AddedToken& token : settings.listed) {
    std::optional<int32_t> id = tokenizer.token_id(token.text);
    if (!id || *id == token.id) continue;
    if (++moved == 1) first = str(shown(token.text), " as id ", token.id, ", in the vocabulary it is ", *id);
  }
  if (moved)
    result.notes.push_back(str(result.file, ": the files beside it list ", first,
                               moved > 1 ? str(" (and ", moved - 1, " more so)") : "",
                               "; ids follow the order of the tokens, as in transformers"));
}

}  // namespace

Result<FolderTokenizer> unite_tokenizer(std::string json, const std::string& file,
                                        const TokenizerSideFiles& side, const TokenizerFamily* family,
                                        bool whole, std::optional<TokenizerInfo> info) {
  FolderTokenizer result;
  Json list;
  ASSIGN_OR_RETURN(TokenizerInfo detected, detect_tokenizer_info(json, file, &list));
  ASSIGN_OR_RETURN(std::vector<AddedToken> present,
                   read_added_tokens(list.is_null() ? nullptr : &list, file));
  ASSIGN_OR_RETURN(TokenSettings settings, read_token_settings(side, present));
  // The prefix that the normalizer puts in front of words would go in front of these too, and nothing would
  // match.
  if (detected.prepend_space_in_encode && !whole)
    for (AddedToken& token : settings.listed) token.normalized = false;
  if (family) {
    add_family_tokens(*family, json, whole, settings);
    settings.plain_special = family->plain_special;
  }
  std::string added;
  ASSIGN_OR_RETURN(auto backend,
                   make_huggingface_tokenizer(json, file, tokens_to_add(settings, present), &added));
  if (!added.empty()) {
    // Read again: a tokenizer keeps matching special tokens by the flags that they came with.
    ASSIGN_OR_RETURN(json, replace_added_tokens(json, added, file));
    ASSIGN_OR_RETURN(backend, make_huggingface_tokenizer(json, file));
  }
  ASSIGN_OR_RETURN(result.tokenizer, Tokenizer::build(std::move(backend), info.value_or(detected),
                                                      /*text_is_bytes=*/false, settings.special, file));
  result.json = std::move(json);
  result.file = file;
  result.notes = settings.notes;
  note_moved_ids(settings, *result.tokenizer, result);
  return result;
}

Result<SpecialTokens> read_folder_special_tokens(const std::string& folder) {
  ASSIGN_OR_RETURN(Context context, read_context(folder, std::nullopt));
  ASSIGN_OR_RETURN(TokenSettings settings, read_token_settings(context.side, {}));
  return std::move(settings.special);
}

bool has_tokenizer(const std::string& folder) { return !find_vocabularies(folder).empty(); }

Result<FolderTokenizer> read_folder_tokenizer(const std::string& folder, std::optional<TokenizerInfo> info) {
  std::vector<std::pair<std::string, Reader>> vocabularies = find_vocabularies(folder);
  if (vocabularies.empty())
    return Status::error(
        str(folder,
            ": no tokenizer found, expected tokenizer.json, tokenizer.model, vocab.json with "
            "merges.txt, or tokenizer_model; copy the model's tokenizer files into this folder"));
  ASSIGN_OR_RETURN(Context context, read_context(folder, std::move(info)));
  std::vector<std::string> notes;
  for (size_t i = 0;; ++i) {
    const auto& [path, read] = vocabularies[i];
    Result<FolderTokenizer> result = read(context, path);
    if (!result.is_ok() && i + 1 < vocabularies.size()) {
      notes.push_back(str(result.status().message(), "; ", vocabularies[i + 1].first, " is read instead"));
      continue;
    }
    if (result.is_ok()) result->notes.insert(result->notes.begin(), notes.begin(), notes.end());
    return result;
  }
}

}  // namespace mlc
