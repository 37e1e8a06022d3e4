// The tree of a build of 2023.
#include "apps/cli/build_tree.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"

namespace mlc::cli {
namespace {

Json read_object(const std::string& path) {
  auto json = read_json_file(path);
  return json.is_ok() && json->is_object() ? *json : Json::object();
}

bool all_shards_there(const std::string& params) {
  const Json index = read_object(path_join(params, "ndarray-cache.json"));
  const Json* shards = find(index, "records");
  if (!shards || !shards->is_array()) return false;
  for (const Json& shard : *shards) {
    const auto bytes = file_size(path_join(params, find_string(shard, "dataPath").value_or("")));
    if (!bytes.is_ok() || *bytes != find_int(shard, "nbytes").value_or(-1)) return false;
  }
  return true;
}

}  // namespace

bool has_weights(const BuildTree& tree, const std::string& made_of) {
  bool known = false;
  std::error_code code;
  for (std::filesystem::directory_iterator it(tree.folder, code), end; !code && it != end;
       it.increment(code)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with("mod_cache_before_build_") && name.ends_with(".pkl"))
      known |= find_string(read_object(it->path().string()), "weights") == made_of;
  }
  return known && all_shards_there(tree.params());
}

bool has_library(const BuildTree& tree, const std::string& made_of) {
  const Json cache = read_object(tree.cache());
  const Json* library = find(cache, "library");
  const auto bytes = file_size(tree.library());
  return library && bytes.is_ok() && find_string(*library, "made_of") == made_of &&
         find_int(*library, "bytes") == *bytes;
}

Status write_build_cache(const BuildTree& tree, const std::string& weights, const std::string& library) {
  Json cache = {{"written_by", "mlc_llm build"}, {"weights", weights}};
  if (const auto bytes = file_size(tree.library()); bytes.is_ok() && !library.empty())
    cache["library"] = {{"made_of", library}, {"bytes", *bytes}};
  return write_file(tree.cache(), json_text(cache, 2) + "\n");
}

std::string template_2023(const std::string& model) {
  struct Row {
    const char *prefix, *name;
  };
  constexpr Row kRows[] = {{"vicuna-", "vicuna_v1.1"}, {"dolly-", "dolly"},
                           {"stablelm-", "stablelm"},  {"redpajama-", "redpajama_chat"},
                           {"moss-", "moss"},          {"open_llama", "LM"},
                           {"rwkv-", "rwkv"},          {"gorilla-", "gorilla_v0"},
                           {"starcoder", "code_gpt"},  {"wizardcoder-", "code_gpt"}};
  std::string lower = model;
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const Row& row : kRows)
    if (lower.starts_with(row.prefix)) return row.name;
  return "";
}

}  // namespace mlc::cli
