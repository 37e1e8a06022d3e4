// Finds the first usable weights that a path stands for.
#include <filesystem>
#include <set>

#include "base/file_kind.h"
#include "base/strings.h"
#include "formats/checkpoint_open.h"
#include "formats/weight_files.h"

namespace mlc {
namespace {

class Search {
 public:
  Search(const std::string& folder, SourceFormat format) : folder_(folder), format_(format) {}

  Result<std::unique_ptr<Checkpoint>> run() {
    FoundWeights all = find_weights(folder_);
    for (const WeightFiles& files : all.named)
      if (std::unique_ptr<Checkpoint> found = try_open(files)) return noted(std::move(found));
    for (auto& [list, kind] : {std::pair(&all.ggufs, "GGUF"), std::pair(&all.others, "weight")}) {
      ASSIGN_OR_RETURN(std::unique_ptr<Checkpoint> found, try_the_only(*list, kind));
      if (found) return noted(std::move(found));
    }
    if (!problems_.empty()) return Status::error(problems_[0]);
    return Status::error(str(folder_, ": no weights; expected one of ", expected_names()));
  }

 private:
  // nullptr where the files are not whole, or not of the format asked for.
  std::unique_ptr<Checkpoint> try_open(const WeightFiles& files) {
    auto opened = open_weight_files(files.paths);
    if (!opened.is_ok()) problems_.push_back(opened.status().message());
    bool fits = opened.is_ok() && (format_ == SourceFormat::kAuto || (*opened)->format() == format_);
    return fits ? std::move(*opened) : nullptr;
  }

  // Candidates of equal rank, of which one may be whole. The parts of a split model are one.
  Result<std::unique_ptr<Checkpoint>> try_the_only(const std::vector<WeightFiles>& list,
                                                   std::string_view kind) {
    std::unique_ptr<Checkpoint> found;
    std::string problem_before = problems_.empty() ? "" : problems_[0];
    std::set<std::string> seen;
    std::vector<std::string> whole;
    for (const WeightFiles& files : list) {
      if (seen.contains(files.paths[0])) continue;
      std::unique_ptr<Checkpoint> opened = try_open(files);
      if (!opened) continue;
      seen.insert(opened->files().begin(), opened->files().end());
      whole.push_back(std::filesystem::path(opened->files()[0]).filename().string());
      if (!found) found = std::move(opened);
    }
    if (whole.size() > 1 && !problem_before.empty()) return Status::error(problem_before);
    if (whole.size() > 1)
      return Status::error(str(folder_, ": ", whole.size(), " ", kind, " files (", whole[0], ", ", whole[1],
                               whole.size() > 2 ? "..." : "", "); expected one, name the file itself"));
    return found;
  }

  std::unique_ptr<Checkpoint> noted(std::unique_ptr<Checkpoint> found) {
    for (const std::string& problem : problems_)
      found->add_note(str(problem, "; using ", found->files()[0], " instead"));
    return found;
  }

  std::string expected_names() const {
    std::vector<std::string> names;
    auto asked = [&](SourceFormat format) { return format_ == SourceFormat::kAuto || format_ == format; };
    if (asked(SourceFormat::kTorch))
      names.insert(names.end(), {"pytorch_model.bin.index.json", "pytorch_model.bin"});
    if (asked(SourceFormat::kSafetensors))
      names.insert(names.end(), {"model.safetensors.index.json", "model.safetensors"});
    if (asked(SourceFormat::kGguf)) names.emplace_back("*.gguf");
    return join(names, ", ");
  }

  const std::string& folder_;
  SourceFormat format_;
  std::vector<std::string> problems_;
};

}  // namespace

Result<std::unique_ptr<Checkpoint>> Checkpoint::open(const std::string& path, SourceFormat format) {
  if (is_directory(path)) return Search(path, format).run();
  std::error_code code;
  if (std::filesystem::symlink_status(path, code).type() == std::filesystem::file_type::not_found)
    return Status::error(str(path, ": no such file or folder; expected a checkpoint"));
  ASSIGN_OR_RETURN(auto checkpoint, open_weight_files(parts_of(path)));
  if (format != SourceFormat::kAuto && format != checkpoint->format_)
    return Status::error(str(
        path, ": not of the format that --source-format asks for; leave the flag out or name another file"));
  return checkpoint;
}

}  // namespace mlc
