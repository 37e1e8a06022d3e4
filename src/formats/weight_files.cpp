// Sorts the files of a folder by what they say they are.
#include "formats/weight_files.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/file_kind.h"
#include "base/strings.h"

namespace mlc {
namespace {

constexpr int kMaxParts = 1 << 14;

bool ends_with_one_of(std::string_view name, std::initializer_list<std::string_view> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return name.ends_with(end); });
}

// Files that training leaves beside the weights, and weights of other models.
bool is_no_model(std::string_view name) {
  for (std::string_view start : {"adapter_", "optimizer", "scheduler", "rng_state", "random_states",
                                 "training_args", "scaler", "consolidated"})
    if (name.starts_with(start)) return true;
  return name.starts_with('.') ||
         ends_with_one_of(name, {".index.json", ".json", ".zip", ".model", ".txt", ".jinja", ".md", ".so"});
}

// Names of regular files and of links, which may lead nowhere.
std::vector<std::string> file_names(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code code;
  for (std::filesystem::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored) || (it->is_symlink(ignored) && !it->is_directory(ignored)))
      names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

enum class Holds { kNothing, kGguf, kOther };

// A name that promises weights counts as much as content that is: what is there instead is then said.
Holds what_holds(const std::string& folder, const std::string& name) {
  if (is_no_model(name)) return Holds::kNothing;
  auto probed = probe_file(path_join(folder, name));
  FileKind kind = probed.is_ok() ? *probed : FileKind::kOther;
  if (kind == FileKind::kGguf) return Holds::kGguf;
  if (kind == FileKind::kSafetensors || kind == FileKind::kZip) return Holds::kOther;
  if (name.ends_with(".gguf")) return Holds::kGguf;
  return ends_with_one_of(name, {".safetensors", ".bin", ".pt", ".pth"}) ? Holds::kOther : Holds::kNothing;
}

}  // namespace

std::string PartName::name_of(int part) const {
  auto padded = [&](int n) {
    std::string text = std::to_string(n);
    return std::string(digits > text.size() ? digits - text.size() : 0, '0') + text;
  };
  return str(before, "-", padded(part), "-of-", padded(count), after);
}

std::optional<PartName> parse_part_name(std::string_view name) {
  constexpr std::string_view digits = "0123456789";
  size_t of = name.rfind("-of-");
  if (of == std::string_view::npos || of == 0) return std::nullopt;
  size_t number_at = name.find_last_not_of(digits, of - 1);
  size_t after = name.find_first_not_of(digits, of + 4);
  if (after == std::string_view::npos) after = name.size();
  if (number_at == std::string_view::npos || name[number_at] != '-') return std::nullopt;
  std::string_view number = name.substr(number_at + 1, of - number_at - 1),
                   count = name.substr(of + 4, after - of - 4);
  if (number.empty() || number.size() != count.size() || number.size() > 6) return std::nullopt;
  auto value = [](std::string_view text) {
    int n = 0;
    for (char c : text) n = 10 * n + (c - '0');
    return n;
  };
  PartName part{std::string(name.substr(0, number_at)), std::string(name.substr(after)), value(number),
                value(count), number.size()};
  if (part.number < 1 || part.number > part.count || part.count > kMaxParts) return std::nullopt;
  return part;
}

std::vector<std::string> parts_of(const std::string& path) {
  std::filesystem::path whole(path);
  auto part = parse_part_name(whole.filename().string());
  if (!part) return {path};
  std::vector<std::string> paths;
  for (int i = 1; i <= part->count; ++i) paths.push_back((whole.parent_path() / part->name_of(i)).string());
  return paths;
}

FoundWeights find_weights(const std::string& folder) {
  std::vector<std::string> names = file_names(folder);
  FoundWeights found;
  std::set<std::string> taken;  // names
  auto take = [&](std::vector<WeightFiles>& list, std::vector<std::string> paths) {
    for (const std::string& path : paths) taken.insert(std::filesystem::path(path).filename().string());
    list.push_back({std::move(paths)});
  };
  struct Named {
    std::string_view stem, end;
  };
  for (const Named& n : {Named{"pytorch_model", ".bin"}, Named{"model", ".safetensors"}}) {
    std::string whole = str(n.stem, n.end), index = whole + ".index.json";
    for (const std::string& name : {index, whole})
      if (std::binary_search(names.begin(), names.end(), name)) take(found.named, {path_join(folder, name)});
    for (const std::string& name : names)
      if (auto part = parse_part_name(name);
          part && !taken.contains(name) && part->before == n.stem && part->after == n.end)
        take(found.named, parts_of(path_join(folder, name)));
  }
  for (const std::string& name : names) {
    if (taken.contains(name)) continue;
    std::string path = path_join(folder, name);
    Holds holds = what_holds(folder, name);
    if (holds == Holds::kGguf) take(found.ggufs, {path});
    if (holds == Holds::kOther) take(found.others, parts_of(path));
  }
  return found;
}

}  // namespace mlc
