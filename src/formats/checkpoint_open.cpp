// Reads the headers of one file of weights, of several that belong together, or of an index and its files.
#include "formats/checkpoint_open.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <unordered_map>

#include "base/file_kind.h"
#include "base/json.h"
#include "base/strings.h"
#include "formats/checked.h"
#include "formats/gguf_parts.h"
#include "formats/safetensors.h"
#include "formats/weight_files.h"
#include "formats/weight_index.h"

namespace mlc {

// Fills one Checkpoint from one candidate.
class CheckpointOpener {
 public:
  CheckpointOpener() : checkpoint_(new Checkpoint()) {}

  Result<std::unique_ptr<Checkpoint>> open(const std::vector<std::string>& paths) {
    auto probed = probe_file(paths[0]);
    FileKind kind = probed.is_ok() ? *probed : FileKind::kOther;  // the reader's own sentence tells why not
    RETURN_IF_ERROR(kind == FileKind::kJson   ? open_index(paths[0])
                    : kind == FileKind::kGguf ? open_gguf(paths[0])
                                              : open_files(paths));
    return std::move(checkpoint_);
  }

 private:
  using Place = Checkpoint::Place;
  struct Entry {
    SourceTensor tensor;
    Place place;
  };
  struct File {
    std::string path;
    std::shared_ptr<const MappedFile> map;
    SourceFormat format = SourceFormat::kAuto;
    std::vector<Entry> entries;
  };
  using Names = std::vector<std::string>;

  void note(std::string sentence) { checkpoint_->add_note(std::move(sentence)); }

  void add_file(const File& file) {
    checkpoint_->paths_.push_back(file.path);
    checkpoint_->maps_.push_back(file.map);
    if (checkpoint_->format_ == SourceFormat::kAuto) checkpoint_->format_ = file.format;
  }

  // Of the file added last.
  Status add_tensor(Entry entry) {
    Checkpoint& c = *checkpoint_;
    SourceTensor& tensor = entry.tensor;
    tensor.file = static_cast<int>(c.paths_.size()) - 1;
    tensor.byte_size = static_cast<int64_t>(*element_count(tensor.shape)) * size_of(tensor.dtype);
    if (!c.index_.emplace(tensor.name, static_cast<int>(c.tensors_.size())).second)
      return Status::error(
          str(c.paths_.back(), ": tensor ", shown_name(tensor.name), " stands twice in the checkpoint"));
    c.tensors_.push_back(std::move(tensor));
    c.places_.push_back(std::move(entry.place));
    return Status::ok();
  }

  // --- one file
  static Status scan_safetensors(File& file) {
    file.format = SourceFormat::kSafetensors;
    ASSIGN_OR_RETURN(SafetensorsHeader header, parse_safetensors(file.map->bytes(), file.path));
    for (SafetensorsEntry& e : header.entries) {
      SourceTensor tensor{.name = e.name,
                          .dtype = e.dtype,
                          .shape = e.shape,
                          .byte_size = 0,
                          .file = 0,
                          .stored_name = e.name,
                          .stored_type = e.unread.empty() ? std::string(long_name(e.dtype)) : e.type,
                          .unread = std::move(e.unread)};
      file.entries.push_back(
          {std::move(tensor), {.offset = e.offset, .size = e.size, .stored_dtype = e.dtype}});
    }
    // As safetensors' own reader lists them: plain strings, layers.10 before layers.2.
    std::ranges::sort(file.entries, {},
                      [](const Entry& entry) -> const std::string& { return entry.tensor.name; });
    return Status::ok();
  }

  static Status scan_torch(File& file) {
    file.format = SourceFormat::kTorch;
    ASSIGN_OR_RETURN(std::vector<TorchTensor> tensors, parse_torch_zip(file.map->bytes(), file.path));
    for (TorchTensor& t : tensors) {
      SourceTensor tensor{.name = t.name,
                          .dtype = t.dtype == DType::kBF16 ? DType::kF32 : t.dtype,
                          .shape = t.shape,
                          .byte_size = 0,
                          .file = 0,
                          .stored_name = t.name,
                          .stored_type = std::string(long_name(t.dtype)),
                          .unread = std::move(t.unread)};
      file.entries.push_back(
          {std::move(tensor),
           {.offset = t.offset, .size = t.size, .stored_dtype = t.dtype, .strides = t.strides}});
    }
    return Status::ok();
  }

  // safetensors or PyTorch, as the content says.
  static Result<File> scan(const std::string& path) {
    File file{.path = path, .map = nullptr, .entries = {}};
    ASSIGN_OR_RETURN(file.map, MappedFile::open(path));
    auto bytes = file.map->bytes();
    FileKind kind = file_kind(
        {reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), kProbeBytes)}, bytes.size());
    switch (kind) {
      case FileKind::kSafetensors: RETURN_IF_ERROR(scan_safetensors(file)); return file;
      case FileKind::kZip:
      case FileKind::kLegacyTorch:
      case FileKind::kPickle:
      case FileKind::kTar: RETURN_IF_ERROR(scan_torch(file)); return file;
      case FileKind::kEmpty: return Status::error(path + ": empty, expected weights; download it again");
      default: break;
    }
    std::string shown(kind_name(kind));
    if (kind == FileKind::kText && bytes.size() <= 80)
      shown += " " + shown_name(trim({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
    // A name says which reader's sentence helps.
    if (kind == FileKind::kOther && path.ends_with(".safetensors"))
      RETURN_IF_ERROR(parse_safetensors(bytes, path).status());
    return Status::error(
        str(path, ": ", shown,
            ", an unknown kind of checkpoint; expected safetensors, a file by torch.save, an index "
            "(*.index.json) or GGUF"));
  }

  Status open_files(const Names& paths) {
    for (const std::string& path : paths) {
      if (paths.size() > 1 && !file_exists(path))
        return Status::error(
            str(path, ": missing, one of ", paths.size(), " parts of the weights; download it"));
      ASSIGN_OR_RETURN(File file, scan(path));
      add_file(file);
      for (Entry& entry : file.entries) RETURN_IF_ERROR(add_tensor(std::move(entry)));
    }
    return Status::ok();
  }

  // --- an index and its files
  Status open_index(const std::string& path) {
    ASSIGN_OR_RETURN(std::string text, read_file(path));
    ASSIGN_OR_RETURN(WeightIndex index, parse_weight_index(text, path));
    std::string folder = std::filesystem::path(path).parent_path().string();
    std::vector<Names> names(index.files.size());
    for (auto& [name, file] : index.tensors) names[static_cast<size_t>(file)].push_back(std::move(name));
    std::vector<File> files;
    Status problem;  // of the first file that is not whole
    for (size_t i = 0; i < index.files.size(); ++i) {
      std::string file = path_join(folder, index.files[i]);
      Result<File> scanned = Status::error(
          str(file, ": missing, but ", path, " lists ", names[i].size(), " tensors in it; download it"));
      if (file_exists(file)) scanned = scan(file);
      if (!scanned.is_ok() && problem.is_ok()) problem = scanned.status();
      files.push_back(scanned.is_ok() ? std::move(*scanned)
                                      : File{.path = file, .map = nullptr, .entries = {}});
    }
    return add_indexed(path, names, files, problem);
  }

  // Each file's tensors as the index lists them, then those that it does not list or places where they are
  // not.
  Status add_indexed(const std::string& path, const std::vector<Names>& names, std::vector<File>& files,
                     const Status& problem) {
    std::vector<std::unordered_map<std::string, size_t>> entries(files.size());
    std::set<std::string> kept;  // names that lie where the index says
    Names lost, unlisted;
    for (size_t f = 0; f < files.size(); ++f) {
      for (size_t e = 0; e < files[f].entries.size(); ++e)
        entries[f].emplace(files[f].entries[e].tensor.name, e);
      for (const std::string& name : names[f])
        (entries[f].contains(name) ? (void)kept.insert(name) : lost.push_back(name));
    }
    for (size_t f = 0; f < files.size(); ++f) {
      if (!files[f].map) continue;
      add_file(files[f]);
      for (const std::string& name : names[f])
        if (auto it = entries[f].find(name); it != entries[f].end())
          RETURN_IF_ERROR(add_tensor(std::move(files[f].entries[it->second])));
      for (Entry& entry : files[f].entries) {
        std::string name = entry.tensor.name;
        if (name.empty() || kept.contains(name) || checkpoint_->index_.contains(name)) continue;
        unlisted.push_back(name);
        RETURN_IF_ERROR(add_tensor(std::move(entry)));
      }
    }
    std::erase_if(lost, [&](const std::string& name) { return checkpoint_->index_.contains(name); });
    if (!problem.is_ok() && (!lost.empty() || checkpoint_->tensors_.empty())) return problem;
    if (!problem.is_ok()) note(problem.message());
    auto shown = [](const Names& list) { return shown_name(list[0]) + (list.size() > 1 ? ", ..." : ""); };
    if (!lost.empty())
      note(str(path, ": lists ", lost.size(), lost.size() == 1 ? " tensor" : " tensors",
               " that its files do not hold (", shown(lost), ")"));
    if (!unlisted.empty())
      note(str(path, ": does not list ", unlisted.size(), unlisted.size() == 1 ? " tensor" : " tensors",
               " of its files in their place (", shown(unlisted), "); they are read too"));
    return Status::ok();
  }

  // --- GGUF
  Status open_gguf(const std::string& path) {
    ASSIGN_OR_RETURN(std::vector<GgufPart> parts, read_gguf_parts(path));
    RETURN_IF_ERROR(check_gguf_architecture(parts[0].gguf, parts[0].path));
    for (size_t p = 0; p < parts.size(); ++p) {
      add_file({.path = parts[p].path, .map = parts[p].map, .format = SourceFormat::kGguf, .entries = {}});
      for (const std::string& sentence : parts[p].gguf.notes) note(str(parts[p].path, ": ", sentence));
      for (GgufTensor& tensor : parts[p].gguf.tensors) {
        tensor.part = static_cast<int>(p);
        RETURN_IF_ERROR(add_gguf_tensor(parts[0].gguf, tensor));
      }
    }
    std::vector<GgufTensor> all;
    for (GgufPart& part : parts)
      std::move(part.gguf.tensors.begin(), part.gguf.tensors.end(), std::back_inserter(all));
    checkpoint_->gguf_ = std::move(parts[0].gguf);
    checkpoint_->gguf_.tensors = std::move(all);
    return Status::ok();
  }

  Status add_gguf_tensor(const Gguf& gguf, const GgufTensor& t) {
    ASSIGN_OR_RETURN(std::optional<GgufName> name,
                     translate_gguf_tensor(gguf, t, checkpoint_->paths_.back()));
    if (!name) return Status::ok();
    SourceTensor tensor{.name = name->name,
                        .dtype = gguf_type_info(t.type).plain.value_or(DType::kF32),
                        .shape = t.shape,
                        .byte_size = 0,
                        .file = 0,
                        .stored_name = std::string(t.name),
                        .stored_type = t.stored_type,
                        .unread = t.unread.empty() ? name->unread : t.unread};
    return add_tensor(
        {std::move(tensor),
         {.offset = t.offset, .size = t.size, .gguf_type = t.type, .order = name->order, .strides = {}}});
  }

  std::unique_ptr<Checkpoint> checkpoint_;
};

Result<std::unique_ptr<Checkpoint>> open_weight_files(const std::vector<std::string>& paths) {
  return CheckpointOpener().open(paths);
}

}  // namespace mlc
