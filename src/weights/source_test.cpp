// What a path given as CONFIG stands for, by content.
#include "weights/source.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "formats/build_files.h"
#include "support/temp_folder.h"

namespace mlc::weights {
namespace {

using mlc::testing::GgufFile;
using mlc::testing::packed;
using mlc::testing::TempFolder;

constexpr const char* kPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
constexpr const char* kConfig =
    R"({"model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "rms_norm_eps": 1e-5,
        "vocab_size": 4, "max_position_embeddings": 64, "unused": [NaN, -Infinity]})";

std::string weights(const std::string& name) {
  return mlc::testing::safetensors(R"({")" + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                                   "1234");
}
std::string gguf() {
  GgufFile f;
  f.text("general.architecture", "llama")
      .count("llama.block_count", 1)
      .count("llama.context_length", 64)
      .count("llama.embedding_length", 8);
  f.count("llama.feed_forward_length", 16)
      .count("llama.attention.head_count", 2)
      .real("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  f.tensor("token_embd.weight", {8, 4}, 0, packed(std::vector<float>(32, 1)));
  return f.build();
}
std::string notes_of(const ModelSource& source) { return join(source.config.notes, "\n"); }
Result<ModelSource> open(const std::string& config) {
  SourceOptions options;
  options.config = config;
  return open_source(options);
}

TEST(ModelSource, AFileIsWhatItHolds) {
  TempFolder folder;
  auto blob = open(folder.write("sha256-00aa", gguf()));
  ASSERT_TRUE(blob.is_ok()) << blob.status().message();
  EXPECT_TRUE(blob->is_gguf);
  EXPECT_EQ(blob->config_path, folder.file("sha256-00aa"));
  std::string alone = folder.write("any.bin", weights("w"));
  EXPECT_NE(open(alone).status().message().find("holds weights alone and no config.json is beside it"),
            std::string::npos);
  std::string config = folder.write("config.json", kConfig);
  std::string index = folder.write("any.index.json", R"({"weight_map":{"w":"any.bin"}})");
  for (const std::string& path : {alone, index}) {
    auto source = open(path);
    ASSERT_TRUE(source.is_ok()) << source.status().message();
    EXPECT_EQ(source->config_path, config);
    EXPECT_EQ(source->checkpoint->files(), std::vector<std::string>{alone});
  }
  EXPECT_NE(open(folder.write("page.json", "<html>")).status().message().find("page.json: a web page"),
            std::string::npos);
}

TEST(ModelSource, AFolderWhoseConfigIsBrokenMayHoldAGguf) {
  TempFolder folder;
  std::string config = folder.write("config.json", kPointer);
  EXPECT_TRUE(open(folder.path()).status().message().starts_with(config + ": a Git LFS pointer"));
  std::string model = folder.write("m.gguf", gguf());
  auto source = open(folder.path());
  ASSERT_TRUE(source.is_ok()) << source.status().message();
  EXPECT_TRUE(source->is_gguf);
  EXPECT_NE(notes_of(*source).find("; using " + model + " instead"), std::string::npos) << notes_of(*source);
  folder.write("config.json", kConfig);
  source = open(folder.path());
  ASSERT_TRUE(source.is_ok()) << source.status().message();
  EXPECT_FALSE(source->is_gguf);
  EXPECT_EQ(source->checkpoint->format(), SourceFormat::kGguf);
}

TEST(ModelSource, NotesOfTheCheckpointAreNotesOfTheModel) {
  TempFolder folder;
  folder.write("config.json", kConfig);
  folder.write("pytorch_model.bin", kPointer);
  folder.write("model.safetensors", weights("w"));
  auto source = open(folder.path());
  ASSERT_TRUE(source.is_ok()) << source.status().message();
  EXPECT_NE(notes_of(*source).find("pytorch_model.bin: a Git LFS pointer"), std::string::npos)
      << notes_of(*source);
}

}  // namespace
}  // namespace mlc::weights
