// Copies and converts tokenizer files.
#include "weights/tokenizer_files.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/strings.h"
#include "chat/template/chat_template.h"
#include "chat/tokenizer/gguf_tokenizer.h"
#include "chat/tokenizer/rwkv.h"
#include "chat/tokenizer/sentencepiece.h"
#include "chat/tokenizer/tokenizer.h"
#include "chat/tokenizer/tokenizer_json.h"
#include "formats/gguf_names.h"

namespace mlc::weights {
namespace {

constexpr const char* kCopied[] = {"tokenizer.model", "tokenizer.json",    "vocab.json",
                                   "merges.txt",      "added_tokens.json", "tokenizer_config.json"};

void put(TokenizerFiles& files, const std::string& name, std::string text) {
  files.names.push_back(name);
  files.texts.push_back({name, std::move(text)});
}

// The file of `folder` whose name starts and ends so; "" when there is none, the first by name of several.
std::string find_file(const std::string& folder, std::string_view start, std::string_view end) {
  std::vector<std::string> found;
  std::error_code code;
  for (std::filesystem::directory_iterator it(folder, code), last; !code && it != last; it.increment(code)) {
    std::string name = it->path().filename().string();
    if (name.starts_with(start) && name.ends_with(end) && it->is_regular_file(code)) found.push_back(name);
  }
  std::sort(found.begin(), found.end());
  return found.empty() ? "" : found[0];
}

// "bos_token" of tokenizer_config.json: a text or an object with `content`.
std::string token_text(const Json& config, const char* key) {
  const Json* token = find(config, key);
  if (token == nullptr) return "";
  if (token->is_string()) return token->get<std::string>();
  return find_string(*token, "content").value_or("");
}

std::vector<AddedToken> added_tokens(const Json& config) {
  std::vector<AddedToken> tokens;
  const Json* list = find(config, "added_tokens_decoder");
  if (list == nullptr || !list->is_object()) return tokens;
  for (const auto& [id, token] : list->items())
    if (auto text = find_string(token, "content");
        text && !id.empty() && id.find_first_not_of("0123456789") == std::string::npos && id.size() < 9)
      tokens.push_back({static_cast<int32_t>(std::strtol(id.c_str(), nullptr, 10)), *text, find_bool(token, "special").value_or(true)});
  return tokens;
}

Status convert_rwkv(const std::string& from, TokenizerFiles& files, bool& done) {
  for (const char* end : {".txt", ".json"}) {
    std::string name = find_file(from, "rwkv_vocab_v", end);
    if (name.empty()) continue;
    std::string path = path_join(from, name);
    ASSIGN_OR_RETURN(std::string text, read_file(path));
    ASSIGN_OR_RETURN(RwkvVocabulary vocabulary,
                     name.ends_with(".txt") ? read_rwkv_text(text, path) : read_rwkv_json(text, path));
    done = true;
    files.texts.push_back({"tokenizer_model", write_rwkv_model(vocabulary)});  // not listed, as in MLC
    return Status::ok();
  }
  return Status::ok();
}

Status convert_others(const std::string& from, const Json& config, TokenizerFiles& files) {
  bool done = false;
  RETURN_IF_ERROR(convert_rwkv(from, files, done));
  if (done) return Status::ok();
  if (std::string path = path_join(from, "tokenizer.model"); file_exists(path)) {
    ASSIGN_OR_RETURN(std::string model, read_file(path));
    ASSIGN_OR_RETURN(std::string json, tokenizer_json_from_sentencepiece(model, path));
    put(files, "tokenizer.json", std::move(json));
    return Status::ok();
  }
  if (std::string name = find_file(from, "", ".tiktoken"); !name.empty()) {
    std::string path = path_join(from, name);
    ASSIGN_OR_RETURN(std::string text, read_file(path));
    ASSIGN_OR_RETURN(std::string json, tokenizer_json_from_tiktoken(text, added_tokens(config), "", path));
    put(files, "tokenizer.json", std::move(json));
    return Status::ok();
  }
  return Status::ok();
}

Status copy_files(const std::string& from, TokenizerFiles& files) {
  for (const char* name : kCopied) {
    std::string path = path_join(from, name);
    if (!file_exists(path)) continue;
    ASSIGN_OR_RETURN(std::string text, read_file(path));
    put(files, name, std::move(text));
  }
  Json config;
  if (std::string path = path_join(from, "tokenizer_config.json"); file_exists(path)) {
    ASSIGN_OR_RETURN(config, read_json_file(path));
    files.bos_token = token_text(config, "bos_token"), files.eos_token = token_text(config, "eos_token");
  }
  if (!file_exists(path_join(from, "tokenizer.json")))
    RETURN_IF_ERROR(convert_others(from, config, files));
  ASSIGN_OR_RETURN(std::optional<std::string> jinja, find_jinja_template(from));
  files.jinja_template = jinja.value_or("");
  return Status::ok();
}

// The vocabulary's own tokenizer; where that cannot be made (a word pattern of another name), the tokenizer.json beside the file.
Result<std::string> tokenizer_json_of(const GgufVocabulary& vocabulary, const ModelSource& source,
                                      std::vector<std::string>& notes) {
  auto own = tokenizer_json_from_gguf(vocabulary, source.config_path);
  const std::string path = path_join(source.folder, "tokenizer.json");
  if (own.is_ok() || !file_exists(path)) return own;
  ASSIGN_OR_RETURN(std::string json, read_file(path));
  ASSIGN_OR_RETURN(auto tokenizer, Tokenizer::from_json(json, path));
  if (tokenizer->token_count() > static_cast<int64_t>(vocabulary.tokens.size()))
    return Status::error(str(path, ": has ", tokenizer->token_count(), " tokens, ", source.config_path, " has ",
                             vocabulary.tokens.size(), ": it is of another model"));
  const std::string& why = own.status().message();
  notes.push_back(str(path, " is taken as the tokenizer, since ", why.substr(0, why.rfind(';'))));
  return json;
}

Status from_gguf(const ModelSource& source, TokenizerFiles& files) {
  std::unique_ptr<Checkpoint> own;
  const Checkpoint* file = source.checkpoint.get();
  if (file == nullptr || file->format() != SourceFormat::kGguf) {
    ASSIGN_OR_RETURN(own, Checkpoint::open(source.config_path, SourceFormat::kGguf));
    file = own.get();
  }
  ASSIGN_OR_RETURN(GgufTokenizer data, file->gguf_tokenizer());
  GgufVocabulary vocabulary;
  vocabulary.model = data.model, vocabulary.pre = data.pre, vocabulary.tokens = data.tokens,
  vocabulary.merges = data.merges;
  vocabulary.scores = data.scores, vocabulary.types = data.token_types;
  vocabulary.unknown_token_id = static_cast<int32_t>(data.unknown_id.value_or(0));
  vocabulary.add_space_prefix = data.add_space_prefix.value_or(true);
  ASSIGN_OR_RETURN(std::string json, tokenizer_json_of(vocabulary, source, files.notes));
  put(files, "tokenizer.json", std::move(json));
  files.jinja_template = data.chat_template;
  auto text_of = [&](std::optional<int64_t> id) {
    return id ? data.tokens[static_cast<size_t>(*id)] : std::string();
  };
  files.bos_token = text_of(data.bos_id), files.eos_token = text_of(data.eos_id);
  for (std::optional<int64_t> id : {data.eos_id, data.eot_id})
    if (id && std::find(files.stop_token_ids.begin(), files.stop_token_ids.end(), *id) ==
                  files.stop_token_ids.end())
      files.stop_token_ids.push_back(static_cast<int32_t>(*id));
  return Status::ok();
}

// What tokenizer.json tells: info, count, and the id of the end token.
Status inspect(const std::string& what, TokenizerFiles& files) {
  for (const TokenizerFiles::Text& file : files.texts) {
    if (file.name != "tokenizer.json") continue;
    std::string path = path_join(what, file.name);
    ASSIGN_OR_RETURN(files.info, detect_tokenizer_info(file.text, path));
    ASSIGN_OR_RETURN(auto tokenizer, Tokenizer::from_json(file.text, path));
    files.token_count = tokenizer->token_count();
    if (files.stop_token_ids.empty() && !files.eos_token.empty())
      if (auto id = tokenizer->token_id(files.eos_token)) files.stop_token_ids.push_back(*id);
  }
  return Status::ok();
}

}  // namespace

Result<TokenizerFiles> read_tokenizer_files(const ModelSource& source) {
  TokenizerFiles files;
  bool gguf = source.config_path.ends_with(".gguf");
  RETURN_IF_ERROR(gguf ? from_gguf(source, files) : copy_files(source.folder, files));
  RETURN_IF_ERROR(inspect(gguf ? source.config_path : source.folder, files));
  return files;
}

Status write_tokenizer_files(const TokenizerFiles& files, const std::string& folder) {
  RETURN_IF_ERROR(make_directories(folder));
  for (const TokenizerFiles::Text& file : files.texts)
    RETURN_IF_ERROR(write_file(path_join(folder, file.name), file.text));
  return Status::ok();
}

}  // namespace mlc::weights
