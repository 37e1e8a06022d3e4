// Copies and converts tokenizer files.
#include "weights/tokenizer_files.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/strings.h"
#include "chat/template/chat_template.h"
#include "chat/tokenizer/folder.h"
#include "chat/tokenizer/gguf_tokenizer.h"
#include "chat/tokenizer/rwkv.h"
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

// The tokenizer as one tokenizer.json: the file of that name where the union is more than it, or where there
// was none.
void put_union(const FolderTokenizer& read, TokenizerFiles& files) {
  if (read.json.empty()) return;
  for (TokenizerFiles::Text& file : files.texts)
    if (file.name == "tokenizer.json") {
      file.text = read.json;
      return;
    }
  put(files, "tokenizer.json", read.json);
}

// Notes files that cannot be read and are not needed, unless the reader of the others has said so.
void note_left_out(const std::vector<std::string>& problems, TokenizerFiles& files) {
  for (const std::string& problem : problems)
    if (std::none_of(files.notes.begin(), files.notes.end(),
                     [&](const std::string& note) { return note.starts_with(problem); }))
      files.notes.push_back(problem + "; it is left out");
}

Status copy_files(const std::string& from, TokenizerFiles& files) {
  std::vector<std::string> problems;
  for (const char* name : kCopied) {
    std::string path = path_join(from, name);
    if (!file_exists(path)) continue;
    auto text = read_file(path);
    if (text.is_ok())
      put(files, name, std::move(text).value());
    else
      problems.push_back(text.status().message());
  }
  ASSIGN_OR_RETURN(std::optional<std::string> jinja, find_jinja_template(from));
  files.jinja_template = jinja.value_or("");
  bool rwkv = false;
  if (!file_exists(path_join(from, "tokenizer.json"))) RETURN_IF_ERROR(convert_rwkv(from, files, rwkv));
  if (rwkv || !has_tokenizer(from)) {
    ASSIGN_OR_RETURN(files.special, read_folder_special_tokens(from));
    return Status::ok();
  }
  ASSIGN_OR_RETURN(FolderTokenizer read, read_folder_tokenizer(from));
  put_union(read, files);
  files.notes = std::move(read.notes);
  note_left_out(problems, files);
  files.tokenizer = std::move(read.tokenizer);
  files.special = files.tokenizer->special();
  return Status::ok();
}

// Takes the tokenizer.json beside a GGUF file whose own tokenizer gives `error`, if it has the file's
// `tokens`.
Status take_from_beside(const ModelSource& source, const std::vector<std::string>& tokens,
                        const Status& error, TokenizerFiles& files) {
  std::string path = path_join(source.folder, "tokenizer.json");
  if (!file_exists(path)) return error;
  ASSIGN_OR_RETURN(FolderTokenizer read, read_folder_tokenizer(source.folder));
  for (int32_t id = 0; id < read.tokenizer->vocab_size(); ++id) {
    const std::string& text = read.tokenizer->token_text(id);
    bool same = static_cast<size_t>(id) < tokens.size() && tokens[static_cast<size_t>(id)] == text;
    if (!same && !text.empty())
      return Status::error(str(path, ": token ", id, " is ", shown(text), ", which ", source.config_path,
                               " does not have; put the tokenizer.json of the same model beside the file"));
  }
  const std::string& problem = error.message();  // ends with the advice that was followed
  files.notes.push_back(str(problem.substr(0, problem.rfind(';')), "; ", path, " is used"));
  files.tokenizer = read.tokenizer;
  put(files, "tokenizer.json", std::move(read.json));
  return Status::ok();
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
  auto json = tokenizer_json_from_gguf(vocabulary, source.config_path);
  if (json.is_ok()) {
    ASSIGN_OR_RETURN(files.tokenizer, Tokenizer::from_json(*json, source.config_path));
    put(files, "tokenizer.json", std::move(*json));
  } else {
    RETURN_IF_ERROR(take_from_beside(source, data.tokens, json.status(), files));
  }
  files.jinja_template = data.chat_template;
  const std::pair<const char*, std::optional<int64_t>> special[] = {
      {"bos_token", data.bos_id},       {"eos_token", data.eos_id},     {"unk_token", data.unknown_id},
      {"sep_token", data.separator_id}, {"pad_token", data.padding_id}, {"cls_token", data.class_id},
      {"mask_token", data.mask_id}};
  for (const auto& [name, id] : special)
    if (id) files.special.set(name, {static_cast<int32_t>(*id), data.tokens[static_cast<size_t>(*id)]});
  for (std::optional<int64_t> id : {data.eos_id, data.eot_id, data.eom_id})
    if (id && std::find(files.stop_token_ids.begin(), files.stop_token_ids.end(), *id) ==
                  files.stop_token_ids.end())
      files.stop_token_ids.push_back(static_cast<int32_t>(*id));
  return Status::ok();
}

// What the tokenizer tells: info, count, and the id of the end token.
void inspect(TokenizerFiles& files) {
  if (!files.tokenizer) return;
  bool json = std::any_of(files.texts.begin(), files.texts.end(),
                          [](const TokenizerFiles::Text& file) { return file.name == "tokenizer.json"; });
  if (!json) return;
  files.info = files.tokenizer->info();
  files.token_count = files.tokenizer->token_count();
  std::string end = files.special.text("eos_token");
  if (!files.stop_token_ids.empty() || end.empty()) return;
  if (auto id = files.tokenizer->token_id(end)) files.stop_token_ids.push_back(*id);
}

}  // namespace

Result<TokenizerFiles> read_tokenizer_files(const ModelSource& source) {
  TokenizerFiles files;
  bool gguf = source.is_gguf;
  RETURN_IF_ERROR(gguf ? from_gguf(source, files) : copy_files(source.folder, files));
  inspect(files);
  return files;
}

Status check_tokenizer(const ModelSource& source) {
  ASSIGN_OR_RETURN(TokenizerFiles files, read_tokenizer_files(source));
  bool rwkv = std::any_of(files.texts.begin(), files.texts.end(),
                          [](const TokenizerFiles::Text& file) { return file.name == "tokenizer_model"; });
  return files.tokenizer || rwkv ? Status::ok() : read_folder_tokenizer(source.folder).status();
}

Status write_tokenizer_files(const TokenizerFiles& files, const std::string& folder) {
  RETURN_IF_ERROR(make_directories(folder));
  for (const TokenizerFiles::Text& file : files.texts)
    RETURN_IF_ERROR(write_file(path_join(folder, file.name), file.text));
  return Status::ok();
}

}  // namespace mlc::weights
