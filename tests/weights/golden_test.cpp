// Conversions and configs byte for byte as the original writes them: our index, md5 sums included, equals its
// index.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/strings.h"
#include "formats/shards.h"
#include "support/temp_folder.h"
#include "weights/convert.h"
#include "weights/gen_config.h"
#include "weights/ranks.h"
#include "weights/source.h"

namespace mlc::weights {
namespace {

const std::string kData = std::string(MLC_SOURCE_DIR) + "/tests/data/";

std::string text_of(const std::string& path) {
  auto text = read_file(path);
  return text.is_ok() ? *text : text.status().message();
}

// The golden folders that hold `file`, "llama-q4f16_1" and so on.
std::vector<std::string> golden_folders(const std::string& file) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kData + "weights/golden"))
    if (std::filesystem::exists(entry.path() / file)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

// The checkpoint of a toy model in one folder, of links to its files.
void gather_source(const std::string& model, const std::string& folder) {
  const bool byte_level =
      model == "gpt2" || model == "gpt_neox" || model == "llama3_tied" || model == "phi" || model == "qwen2";
  std::vector<std::string> places = {kData + "models/" + model, kData + "weights/source/" + model};
  if (model != "rwkv5")  // which has a vocabulary instead
    places.push_back(kData + "weights/tokenizers/" + (byte_level ? "gpt_neox" : "llama"));
  for (const std::string& place : places)
    if (is_directory(place))
      for (const auto& entry : std::filesystem::directory_iterator(place))
        if (std::string link = path_join(folder, entry.path().filename().string());
            !std::filesystem::exists(link))
          std::filesystem::create_symlink(entry.path(), link);
}

class Golden : public ::testing::TestWithParam<std::string> {};
class GoldenConfig : public ::testing::TestWithParam<std::string> {};

TEST_P(Golden, ConvertsToTheSameBytes) {
  std::vector<std::string> parts = split(GetParam(), '-');  // model, quantization, "preshard2" of some
  std::string model = parts[0], quantization = parts[1];
  int ranks = parts.size() > 2 ? *parse_rank_count(parts[2].substr(8)) : 0;
  mlc::testing::TempFolder input, output;
  gather_source(model, input.path());
  auto source = open_source({.config = input.path()});
  ASSERT_TRUE(source.is_ok()) << source.status().message();
  QuantScheme scheme = *find_quant_scheme(quantization);
  frontend::BuiltModel built = frontend::build_model(source->config, scheme);
  auto plan = make_plan(built.parameters, built.unused_sources, scheme, source->checkpoint.get(),
                        input.path(), {.ranks = ranks});
  ASSERT_TRUE(plan.is_ok()) << plan.status().message();
  auto result = convert(*plan, *source->checkpoint, output.path(), {.threads = 3});
  ASSERT_TRUE(result.is_ok()) << result.status().message();
  std::string golden = kData + "weights/golden/" + GetParam() + "/";
  EXPECT_EQ(text_of(output.file("tensor-cache.json")), text_of(golden + "tensor-cache.json"));
  EXPECT_EQ(text_of(output.file("ndarray-cache.json")), text_of(golden + "tensor-cache.json"));
  ASSERT_EQ(file_exists(output.file("tensor-cache-b16.json")), file_exists(golden + "tensor-cache-b16.json"));
  if (file_exists(golden + "tensor-cache-b16.json")) {
    EXPECT_EQ(text_of(output.file("tensor-cache-b16.json")), text_of(golden + "tensor-cache-b16.json"));
  }
  EXPECT_FALSE(file_exists(output.file(kJournalFile)));
}

TEST_P(GoldenConfig, GeneratesTheSameConfig) {
  std::string golden = kData + "weights/golden/" + GetParam() + "/mlc-chat-config.json";
  std::string model = split(GetParam(), '-')[0];
  mlc::testing::TempFolder input, output;
  gather_source(model, input.path());
  auto source = open_source({.config = input.path(), .with_checkpoint = false});
  ASSERT_TRUE(source.is_ok()) << source.status().message();
  GenConfigOptions options{.quantization = split(GetParam(), '-')[1]};
  auto expected = read_json_file(golden);
  ASSERT_TRUE(expected.is_ok()) << expected.status().message();
  options.conv_template = expected->at("conv_template").at("name");  // which is the preset's
  options.overrides.max_batch_size = 128;
  if (GetParam() == "llama-q4f32_1") {
    options.overrides.context_window_size = 128, options.overrides.prefill_chunk_size = 64,
    options.overrides.max_batch_size = 4;
  }
  auto result = generate_config(*source, options, output.path());
  ASSERT_TRUE(result.is_ok()) << result.status().message();
  const std::string written = text_of(output.file("mlc-chat-config.json"));
  EXPECT_EQ(written, json_text(result->config, 2, true));
  result->config.erase("source_config");  // of which MLC's files know nothing
  EXPECT_EQ(json_text(result->config, 2, true), text_of(golden));
  ASSERT_EQ(file_exists(output.file("tokenizer.json")), file_exists(input.file("tokenizer.json")));
  if (file_exists(output.file("tokenizer.json"))) {
    EXPECT_EQ(text_of(output.file("tokenizer.json")), text_of(input.file("tokenizer.json")));
  } else {
    EXPECT_EQ(text_of(output.file("tokenizer_model")),
              text_of(kData + "weights/golden/" + GetParam() + "/tokenizer_model"));
  }
}

std::string test_name(const ::testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(Folders, Golden, ::testing::ValuesIn(golden_folders("tensor-cache.json")),
                         test_name);
INSTANTIATE_TEST_SUITE_P(Folders, GoldenConfig, ::testing::ValuesIn(golden_folders("mlc-chat-config.json")),
                         test_name);

TEST(GenConfig, WithoutATemplateTheCheckpointsOwnIsKept) {
  mlc::testing::TempFolder input, output;
  gather_source("llama", input.path());
  auto source = open_source({.config = input.path(), .with_checkpoint = false});
  ASSERT_TRUE(source.is_ok());
  auto refused = generate_config(*source, {.quantization = "q4f16_1"}, output.path());
  ASSERT_FALSE(refused.is_ok());
  EXPECT_EQ(refused.status().message().find("--conv-template: missing"), 0u) << refused.status().message();
  ASSERT_TRUE(write_file(input.file("chat_template.jinja"), "{{ messages[0].content }}").is_ok());
  auto kept = generate_config(*source, {.quantization = "q4f16_1"}, output.path());
  ASSERT_TRUE(kept.is_ok()) << kept.status().message();
  EXPECT_EQ(kept->config["conv_template"]["jinja_template"], "{{ messages[0].content }}");
  EXPECT_EQ(kept->config["conv_template"]["stop_token_ids"], Json::array({2}));
  auto wrong =
      generate_config(*source, {.quantization = "q4f16_1", .conv_template = "lama-2"}, output.path());
  ASSERT_FALSE(wrong.is_ok());
  EXPECT_NE(wrong.status().message().find("llama-2"), std::string::npos) << wrong.status().message();
}

TEST(GenConfig, ACheckpointThatTakesTheBestTokenStaysGreedy) {
  mlc::testing::TempFolder input, output;
  gather_source("gpt_neox", input.path());
  auto temperature = [&](const std::string& generation) {
    const std::string path = input.file("generation_config.json");
    std::filesystem::remove(path);
    EXPECT_TRUE(write_file(path, generation).is_ok());
    auto source = open_source({.config = input.path(), .with_checkpoint = false});
    auto result =
        generate_config(*source, {.quantization = "q4f16_1", .conv_template = "chatml"}, output.path());
    EXPECT_TRUE(result.is_ok()) << result.status().message();
    return result->config["temperature"];
  };
  EXPECT_EQ(temperature(R"({"do_sample": false})"), 0.0);
  EXPECT_EQ(temperature(R"({"do_sample": false, "temperature": 0.6})"), 0.0);
  EXPECT_EQ(temperature(R"({"do_sample": true, "temperature": 0.6})"), 0.6);
  EXPECT_EQ(temperature("{}"), 1.0);
}

// A published conversion of Qwen2 1.5B: all shards, records and offsets from its config alone.
TEST(Plan, LayoutOfAPublishedModelFromItsConfigAlone) {
  auto source = open_source({.config = kData + "weights/qwen2-1.5b", .with_checkpoint = false});
  ASSERT_TRUE(source.is_ok()) << source.status().message();
  QuantScheme scheme = *find_quant_scheme("q4f16_1");
  frontend::BuiltModel built = frontend::build_model(source->config, scheme);
  auto plan = make_plan(built.parameters, built.unused_sources, scheme, nullptr, "config");
  ASSERT_TRUE(plan.is_ok()) << plan.status().message();
  std::string expected = text_of(kData + "weights/qwen2-1.5b/layout.txt");
  EXPECT_EQ(plan_text(*plan).substr(0, expected.size()), expected);
  EXPECT_EQ(plan->index.param_count, 311);
  EXPECT_EQ(plan->index.param_bytes, 868547584);
  EXPECT_EQ(plan->index.bits_per_param, 4.501079412165634);
}

TEST(Shards2023, IndexOfThatTimeIsRead) {
  std::string text = text_of(kData + "weights/redpajama-2023.json");
  auto index = parse_shard_index(text, "index");
  ASSERT_TRUE(index.is_ok()) << index.status().message();
  EXPECT_EQ(index->param_count, 710);
  EXPECT_EQ(index->shards[0].tensors[0].name, "param_0");
  EXPECT_EQ(index->shards[0].tensors[0].format, RecordFormat::kRaw);
  EXPECT_EQ(shard_index_text(*index), text);
}

}  // namespace
}  // namespace mlc::weights
