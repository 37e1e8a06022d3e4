// Reads a hub's list of files and chooses from it.
#include "hub/file_list.h"

#include <algorithm>
#include <cctype>

#include "base/json.h"
#include "base/strings.h"
#include "hub/digest.h"

namespace mlc::hub {
namespace {

constexpr size_t kMostFiles = 100000;   // more is no model
constexpr size_t kMostPartBytes = 255;  // of a name, in a file system

bool is_plain_part(const std::string& part) {
  if (part.empty() || part == "." || part == ".." || part.size() > kMostPartBytes) return false;
  return std::none_of(part.begin(), part.end(),
                      [](unsigned char c) { return c < 32 || c == 127 || c == '\\' || c == ':'; });
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool ends_in(const HubFile& file, std::initializer_list<const char*> ends) {
  const std::string name = lower(file.name);
  return std::any_of(ends.begin(), ends.end(), [&](const char* end) { return name.ends_with(end); });
}

bool is_top(const HubFile& file) { return file.name.find('/') == std::string::npos && file.name[0] != '.'; }

bool is_config(const HubFile& file) {
  return is_top(file) && ends_in(file, {".json", ".jinja", ".model", ".tiktoken", ".txt"});
}

// "model-00001-of-00003.gguf" without its numbers: the same for all parts; other names are themselves.
std::string model_of(const std::string& name) {
  const size_t of = name.rfind("-of-");
  return of == std::string::npos ? name : name.substr(0, name.rfind('-', of - 1));
}

using Files = std::vector<HubFile>;

template <typename Wanted>
Files select(const FileList& list, const Wanted& wanted) {
  Files files;
  std::copy_if(list.files.begin(), list.files.end(), std::back_inserter(files), wanted);
  return files;
}

// The GGUF model of a repository that has nothing else.
Result<Files> only_gguf(const FileList& list, const std::string& what) {
  Files all = select(list, [](const HubFile& f) { return ends_in(f, {".gguf"}); });
  std::vector<std::string> models;
  for (const HubFile& f : all)
    if (std::find(models.begin(), models.end(), model_of(f.name)) == models.end())
      models.push_back(model_of(f.name));
  if (models.size() > 1)
    return Status::error(str(what, ": holds ", models.size(), " GGUF models; name one of its files as in ",
                             what, "/", all[0].name));
  return all;
}

Result<Files> choose_weights(const FileList& list, const std::string& what) {
  const bool converted = std::any_of(list.files.begin(), list.files.end(),
                                     [](const HubFile& f) { return f.name == "mlc-chat-config.json"; });
  if (converted) {
    Files shards = select(list, [](const HubFile& f) {
      return is_top(f) && f.name.starts_with("params_shard_") && f.name.ends_with(".bin");
    });
    if (!shards.empty()) return shards;
  }
  // A repository may hold the same weights twice: in files of its authors' names, and in those of
  // transformers.
  struct Kind {
    const char *start, *end;
  };
  for (Kind kind : {Kind{"model", ".safetensors"}, Kind{"pytorch_model", ".bin"}, Kind{"", ".safetensors"}}) {
    Files found = select(list, [&](const HubFile& f) {
      return is_top(f) && f.name.starts_with(kind.start) && f.name.ends_with(kind.end);
    });
    if (!found.empty()) return found;
  }
  ASSIGN_OR_RETURN(Files gguf, only_gguf(list, what));
  if (!gguf.empty()) return gguf;
  Files torch = select(list, [](const HubFile& f) { return is_top(f) && ends_in(f, {".pth", ".pt"}); });
  if (!torch.empty()) return torch;
  return Status::error(
      str(what, ": holds no weights, expected .safetensors, .bin, .gguf or shards of MLC LLM"));
}

// A file that was named, with the other parts of the same model.
Result<Files> named_file(const FileList& list, const std::string& file, const std::string& what) {
  const bool is_there =
      std::any_of(list.files.begin(), list.files.end(), [&](const HubFile& f) { return f.name == file; });
  std::vector<std::string> names;
  for (const HubFile& f : list.files) names.push_back(f.name);
  if (!is_there)
    return Status::error(str(what, ": no file ", file, " in the repository", did_you_mean(file, names)));
  return select(list, [&](const HubFile& f) { return f.name == file || model_of(f.name) == model_of(file); });
}

Result<HubFile> parse_file(const Json& entry, const std::string& what) {
  HubFile file;
  ASSIGN_OR_RETURN(file.name, get_string(entry, "rfilename", what));
  RETURN_IF_ERROR(check_file_name(file.name, what));
  file.size = find_int(entry, "size").value_or(-1);
  file.digest = find_string(entry, "blobId").value_or("");
  if (const Json* lfs = find(entry, "lfs"); lfs && lfs->is_object()) {
    file.digest = find_string(*lfs, "sha256").value_or("");
    file.size = find_int(*lfs, "size").value_or(file.size);
  }
  if (file.size < -1) return Status::error(str(what, ": ", file.name, ": size is ", file.size));
  if (!is_sha256(file.digest) && !is_git_name(file.digest)) file.digest.clear();
  return file;
}

}  // namespace

Status check_file_name(const std::string& name, const std::string& what) {
  const std::vector<std::string> parts = split(name, '/');
  if (!name.empty() && std::all_of(parts.begin(), parts.end(), is_plain_part)) return Status::ok();
  return Status::error(str(what, ": the file name '", name,
                           "' could leave the model's folder; nothing of this repository is taken"));
}

Result<FileList> parse_file_list(std::string_view text, const std::string& what) {
  ASSIGN_OR_RETURN(Json json, parse_json(text, what + ": the hub's list of files"));
  FileList list;
  ASSIGN_OR_RETURN(const Json* files, get_array(json, "siblings", what + ": the hub's list of files"));
  if (files->size() > kMostFiles)
    return Status::error(str(what, ": lists ", files->size(), " files; this is no model"));
  list.commit = find_string(json, "sha").value_or("");
  if (!is_git_name(list.commit)) list.commit.clear();
  for (const Json& entry : *files) {
    ASSIGN_OR_RETURN(HubFile file, parse_file(entry, what));
    list.files.push_back(std::move(file));
  }
  return list;
}

Result<std::vector<HubFile>> choose_files(const FileList& list, Need need, const std::string& file,
                                          const std::string& what) {
  Files chosen;
  if (!file.empty()) {
    ASSIGN_OR_RETURN(chosen, named_file(list, file, what));
  } else {
    chosen = select(list, is_config);
    const bool has_config = std::any_of(chosen.begin(), chosen.end(), [](const HubFile& f) {
      return f.name == "config.json" || f.name == "mlc-chat-config.json";
    });
    if (need == Need::kModel || !has_config) {  // a GGUF model holds its own config
      ASSIGN_OR_RETURN(Files weights, choose_weights(list, what));
      chosen.insert(chosen.end(), weights.begin(), weights.end());
    }
  }
  if (chosen.empty()) return Status::error(str(what, ": holds no config.json; this is no model"));
  std::vector<std::string> names;
  for (const HubFile& f : chosen) names.push_back(lower(f.local_name()));
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end())
    return Status::error(str(what, ": two files would both be ", *twice, " in the model's folder"));
  return chosen;
}

}  // namespace mlc::hub
