// Brings the parts of a split GGUF model together.
#include "formats/gguf_parts.h"

#include <filesystem>
#include <optional>

#include "base/strings.h"
#include "formats/weight_files.h"

namespace mlc {
namespace {

constexpr int64_t kMaxParts = 1 << 14;

struct Split {
  int64_t number = 0, count = 1;
};

int64_t integer(const Gguf& gguf, std::string_view key, int64_t fallback) {
  const GgufValue* value = gguf.find(key);
  return value && value->is_integer() ? value->integer : fallback;
}
Split split_of(const Gguf& gguf) { return {integer(gguf, "split.no", 0), integer(gguf, "split.count", 1)}; }

Result<GgufPart> read_part(const std::string& path) {
  GgufPart part{.path = path, .map = nullptr, .gguf = {}};
  ASSIGN_OR_RETURN(part.map, MappedFile::open(path));
  ASSIGN_OR_RETURN(part.gguf, parse_gguf(part.map->bytes(), path));
  return part;
}

// Under the names that splitting gives.
Result<std::vector<GgufPart>> read_named(const std::vector<std::string>& paths, const std::string& given,
                                         Split split) {
  std::vector<GgufPart> parts;
  for (const std::string& path : paths) {
    if (!file_exists(path))
      return Status::error(
          str(path, ": missing, one of the ", split.count, " parts that belong to ", given, "; download it"));
    ASSIGN_OR_RETURN(GgufPart part, read_part(path));
    Split found = split_of(part.gguf);
    if (found.number != static_cast<int64_t>(parts.size()) || found.count != split.count)
      return Status::error(str(path, ": metadata split.no is ", found.number, " of split.count ", found.count,
                               ", expected ", parts.size(), " of ", split.count, " by its name and ", given,
                               "; the parts do not belong together"));
    parts.push_back(std::move(part));
  }
  return parts;
}

// Under any names: the folder must hold every other number once.
Result<std::vector<GgufPart>> read_renamed(GgufPart given, Split split) {
  std::string folder = std::filesystem::path(given.path).parent_path().string();
  std::string path = given.path;
  std::vector<std::optional<GgufPart>> found(static_cast<size_t>(split.count));
  std::error_code code;
  for (const WeightFiles& files : find_weights(folder.empty() ? "." : folder).ggufs) {
    if (std::filesystem::equivalent(files.paths[0], path, code)) continue;
    auto part = read_part(files.paths[0]);
    Split other = part.is_ok() ? split_of(part->gguf) : Split();
    if (other.count != split.count || other.number < 0 || other.number >= other.count ||
        other.number == split.number)
      continue;
    std::optional<GgufPart>& place = found[static_cast<size_t>(other.number)];
    if (place)
      return Status::error(str(path, ": part ", split.number + 1, " of ", split.count, ", and part ",
                               other.number + 1, " may be ", place->path, " or ", part->path,
                               "; keep one model in a folder"));
    place = std::move(*part);
  }
  found[static_cast<size_t>(split.number)] = std::move(given);
  std::vector<GgufPart> parts;
  for (std::optional<GgufPart>& part : found) {
    if (!part)
      return Status::error(str(path, ": part ", split.number + 1, " of a GGUF model in ", split.count,
                               " parts, and part ", parts.size() + 1,
                               " is missing beside it; download all parts into one folder"));
    parts.push_back(std::move(*part));
  }
  return parts;
}

}  // namespace

Result<std::vector<GgufPart>> read_gguf_parts(const std::string& path) {
  ASSIGN_OR_RETURN(GgufPart given, read_part(path));
  Split split = split_of(given.gguf);
  std::vector<GgufPart> parts;
  if (split.count <= 1) {
    parts.push_back(std::move(given));
    return parts;
  }
  if (split.count > kMaxParts || split.number < 0 || split.number >= split.count)
    return Status::error(str(path, ": metadata split.no is ", split.number, " of split.count ", split.count,
                             ", expected 0 to count - 1, and at most ", kMaxParts, " parts"));
  std::vector<std::string> paths = parts_of(path);
  bool named = paths.size() == static_cast<size_t>(split.count);
  ASSIGN_OR_RETURN(parts, named ? read_named(paths, path, split) : read_renamed(std::move(given), split));
  int64_t tensors = 0, expected = integer(parts[0].gguf, "split.tensors.count", -1);
  for (const GgufPart& part : parts) tensors += static_cast<int64_t>(part.gguf.tensors.size());
  if (expected >= 0 && expected != tensors)
    return Status::error(str(parts[0].path, ": metadata split.tensors.count is ", expected, ", but the ",
                             parts.size(), " parts hold ", tensors,
                             " tensors; the parts do not belong together"));
  return parts;
}

}  // namespace mlc
