// Which files of a folder hold weights, by name and content, and how files in several parts are named.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlc {

// "model-00002-of-00003.safetensors": before "model", number 2, count 3, after ".safetensors".
struct PartName {
  std::string before, after;
  int number = 0, count = 0;
  size_t digits = 0;
  std::string name_of(int part) const;  // 1 to count
};
// nullopt unless `name` (of a file, or a path) has that form with 1 <= number <= count <= 16384.
std::optional<PartName> parse_part_name(std::string_view name);
// The paths of all parts, there or not; `path` alone where its name has no such form.
std::vector<std::string> parts_of(const std::string& path);

// One way to read a folder's weights: an index, or all files that belong together.
struct WeightFiles {
  std::vector<std::string> paths;
  std::string shown() const { return paths[0]; }
};

struct FoundWeights {
  // The names that Hugging Face gives, the first usable one counts: pytorch_model.bin.index.json,
  // pytorch_model.bin and its parts, model.safetensors.index.json, model.safetensors and its parts.
  std::vector<WeightFiles> named;
  std::vector<WeightFiles> ggufs;   // by content or name, each part of a split model alone
  std::vector<WeightFiles> others;  // what else holds weights by content or name; not adapters and optimizers
};
// Sorted by name. A folder that cannot be read holds nothing.
FoundWeights find_weights(const std::string& folder);

}  // namespace mlc
