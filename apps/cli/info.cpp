// mlc_llm info: what a folder of converted weights or a model library holds.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <utility>

#include "apps/cli/commands.h"
#include "apps/cli/library_info.h"
#include "apps/cli/session.h"
#include "base/json.h"
#include "base/strings.h"
#include "chat/tokenizer/tokenizer_json.h"
#include "formats/params_2023.h"
#include "formats/shards.h"
#include "weights/config_2023.h"
#include "weights/verify_report.h"

namespace mlc::cli {
namespace {

void print(const std::string& label, const std::string& value) {
  std::printf("%-16s %s\n", label.c_str(), printable(value).c_str());
}

void print_config(const std::string& folder) {
  std::string path = path_join(folder, "mlc-chat-config.json");
  if (!file_exists(path)) return print("config", "no mlc-chat-config.json (see gen_config)");
  Json config = value_or_throw(weights::read_chat_config(path));
  print("model", find_string(config, "model_type").value_or("?"));
  print("quantization", find_string(config, "quantization").value_or("?"));
  if (auto context = find_int(config, "context_window_size")) print("context", str(*context, " tokens"));
  const Json* talk = find(config, "conv_template");
  if (talk)
    print("chat template",
          talk->is_string() ? talk->get<std::string>() : find_string(*talk, "name").value_or("?"));
}

// What ends an answer, a line for each token and stop string; nothing where the folder cannot be chatted
// with.
void print_ends(const std::string& folder) {
  std::string path = path_join(folder, "mlc-chat-config.json");
  if (!file_exists(path)) return;
  Json config = value_or_throw(weights::read_chat_config(path));
  auto chat_template = open_template(config, path);
  auto tokenizer = Tokenizer::load(folder);
  if (!chat_template.is_ok() || !tokenizer.is_ok()) return;
  std::string label = "answers end at";
  auto line = [&](const std::string& end) { print(std::exchange(label, ""), end); };
  for (const EndToken& end : end_tokens(config, *chat_template, **tokenizer))
    line(str(end.id, " ", shown(end.text), ": ", join(end.reasons, "; ")));
  for (const std::string& text : chat_template->conversation().stop_str) line(str("the text ", shown(text)));
  if (!label.empty()) line("nothing but the limit of tokens");
}

void print_weights(const std::string& folder, bool tensors) {
  std::string path = value_or_throw(find_shard_index(folder));
  ShardIndex index = value_or_throw(parse_shard_index(value_or_throw(read_file(path)), path));
  int64_t bytes = 0;
  std::map<std::string, std::pair<int64_t, int64_t>> by_dtype;  // count, bytes
  for (const ShardRecord& shard : index.shards) {
    bytes += shard.size;
    for (const TensorRecord& t : shard.tensors) {
      auto& [count, size] = by_dtype[std::string(long_name(t.stored_dtype()))];
      ++count, size += t.size;
    }
  }
  print("index", path);
  if (is_2023(index)) print("made by", "build.py of 2023: weights are named by their places");
  print("weights", str(index.param_count, " tensors in ", index.shards.size(), " shards, ",
                       human_bytes(static_cast<double>(bytes))));
  if (index.bits_per_param >= 0) print("bits", str(index.bits_per_param, " per parameter"));
  for (const auto& [dtype, sum] : by_dtype)
    print("  " + dtype, str(sum.first, " tensors, ", human_bytes(static_cast<double>(sum.second))));
  auto complete = Shards::open(folder);
  if (!complete.is_ok()) print("incomplete", complete.status().message());
  if (!tensors) return;
  for (const ShardRecord& shard : index.shards)
    for (const TensorRecord& t : shard.tensors) {
      std::vector<std::string> dims;
      for (int64_t dim : t.shape) dims.push_back(std::to_string(dim));
      std::printf("%s  [%s]  %s  %s + %lld\n", t.name.c_str(), join(dims, ", ").c_str(),
                  std::string(long_name(t.dtype)).c_str(), shard.file.c_str(),
                  static_cast<long long>(t.offset));
    }
}

}  // namespace

void add_info(CLI::App& app) {
  auto folder = std::make_shared<std::string>();
  auto tensors = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("info", "Show what converted weights or a model library hold");
  command
      ->add_option("folder", *folder,
                   "Folder with tensor-cache.json or ndarray-cache.json, or a model library")
      ->required();
  command->add_flag("--tensors", *tensors, "List every tensor");
  command->callback([folder, tensors] {
    if (file_exists(*folder)) return print_library(*folder, *tensors);
    value_or_throw(find_shard_index(*folder));  // no half an answer before an error
    print_config(*folder);
    print_ends(*folder);
    print_weights(*folder, *tensors);
    auto report = value_or_throw(weights::read_verify_report(*folder));
    std::fputs(report ? weights::verify_text(*report).c_str()
                      : "verified         no (see convert_weight --verify)\n",
               stdout);
  });
}

}  // namespace mlc::cli
