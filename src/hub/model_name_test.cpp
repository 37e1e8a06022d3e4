// Names of models on hubs, and the files of a repository that are taken.
#include "hub/model_name.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "hub/file_list.h"

namespace mlc::hub {
namespace {

constexpr const char* kHub = "https://huggingface.co";

std::string parsed(const std::string& text, const std::string& endpoint = kHub) {
  auto name = parse_model_name(text, endpoint);
  if (!name.is_ok()) return "error: " + name.status().message();
  return str(name->endpoint, " ", name->repo, " ", name->revision, " ", name->file, " ", name->cache, " ",
             name->is_default_hub ? "own" : "other");
}

TEST(ModelName, TakesShortNamesAndPages) {
  EXPECT_EQ(parsed("HF://user/repo"), "https://huggingface.co user/repo main  hf/user/repo own");
  EXPECT_EQ(parsed("hf://user/repo/"), parsed("HF://user/repo"));
  EXPECT_EQ(parsed("https://huggingface.co/user/repo"), parsed("HF://user/repo"));
  EXPECT_EQ(parsed("https://huggingface.co/user/repo.git?x=1#y"), parsed("HF://user/repo"));
  EXPECT_EQ(parsed("https://huggingface.co/user/repo/tree/main"), parsed("HF://user/repo"));
  EXPECT_EQ(parsed("hf://gpt2"), "https://huggingface.co gpt2 main  hf/gpt2 own");
  EXPECT_EQ(parsed("hf://u/r@v1.0"), "https://huggingface.co u/r v1.0  hf/u/r@v1.0 own");
  EXPECT_EQ(parsed("hf://u/r/sub/m.gguf"), "https://huggingface.co u/r main sub/m.gguf hf/u/r own");
  EXPECT_EQ(parsed("https://huggingface.co/u/r/blob/dev/m.gguf"),
            "https://huggingface.co u/r dev m.gguf hf/u/r@dev own");
  EXPECT_EQ(parsed("https://huggingface.co/u/r/tree/refs/pr/1"),
            "https://huggingface.co u/r refs/pr/1  hf/u/r@refs%2Fpr%2F1 own");
}

TEST(ModelName, AMirrorStandsForTheHubAndAnotherHubDoesNot) {
  const std::string mirror = "https://mirror.example/hf/";
  EXPECT_EQ(parsed("HF://u/r", mirror), "https://mirror.example/hf u/r main  hf/u/r own");
  EXPECT_EQ(parsed("https://huggingface.co/u/r", mirror), parsed("HF://u/r", mirror));
  EXPECT_EQ(parsed("https://mirror.example/hf/u/r", mirror), parsed("HF://u/r", mirror));
  EXPECT_EQ(parsed("http://hub.example:81/u/r/tree/x"),
            "http://hub.example:81 u/r x  hub/hub.example_81/u/r@x other");
  // An address that only begins as the hub's does.
  EXPECT_EQ(parsed("https://huggingface.co.example/u/r"),
            "https://huggingface.co.example u/r main  hub/huggingface.co.example/u/r other");
}

TEST(ModelName, RefusesWhatIsNone) {
  for (const char* text :
       {"HF://", "HF://../repo", "HF://user/..", "HF://user/.repo", "HF://us er/repo", "HF://u/r@../x",
        "HF://u/r@", "HF://u/r/../../x.gguf", "HF://u/r//x.gguf", "https://hub.example",
        "https://huggingface.co/u/r/commits/main", "https://huggingface.co/u/r/blob/main",
        "https://name:word@hub.example/u/r", "https://hub.example/u/r/tree/../../x"})
    EXPECT_TRUE(parsed(text).starts_with("error: " + std::string(text))) << parsed(text);
  EXPECT_TRUE(parsed("HF://u/r", "mirror.example").starts_with("error: HF_ENDPOINT: found 'mirror.example'"));
  for (const char* path : {"folder", "/a/b", "HF", "C:\\x", "hf:/u/r"})
    EXPECT_FALSE(is_model_name(path)) << path;
}

FileList list_of(const std::vector<std::string>& names) {
  FileList list;
  for (const std::string& name : names) list.files.push_back({.name = name, .digest = {}});
  return list;
}

std::string chosen(const std::vector<std::string>& names, Need need = Need::kModel,
                   const std::string& file = "") {
  auto files = choose_files(list_of(names), need, file, "HF://u/r");
  if (!files.is_ok()) return "error: " + files.status().message();
  std::vector<std::string> taken;
  for (const HubFile& f : *files) taken.push_back(f.name);
  return join(taken, " ");
}

TEST(FileList, TakesTheWeightsOnce) {
  const std::vector<std::string> names = {
      ".gitattributes",    "README.md",           "config.json",
      "model.safetensors", "pytorch_model.bin",   "consolidated.safetensors",
      "onnx/model.onnx",   "tokenizer.json",      "model.safetensors.index.json",
      "training_args.bin", "original/params.json"};
  EXPECT_EQ(chosen(names), "config.json tokenizer.json model.safetensors.index.json model.safetensors");
  EXPECT_EQ(chosen(names, Need::kConfig), "config.json tokenizer.json model.safetensors.index.json");
  EXPECT_EQ(chosen({"config.json", "pytorch_model-00001-of-00002.bin", "training_args.bin"}),
            "config.json pytorch_model-00001-of-00002.bin");
  EXPECT_EQ(chosen({"mlc-chat-config.json", "ndarray-cache.json", "params_shard_0.bin", "x.bin"}),
            "mlc-chat-config.json ndarray-cache.json params_shard_0.bin");
  EXPECT_EQ(chosen({"config.json", "model.pth"}), "config.json model.pth");
}

TEST(FileList, OfSeveralGgufModelsOneIsNamed) {
  const std::vector<std::string> names = {"a-q4.gguf", "big/b-00001-of-00002.gguf",
                                          "big/b-00002-of-00002.gguf"};
  EXPECT_EQ(chosen({names[0]}), names[0]);
  EXPECT_EQ(chosen({names[0]}, Need::kConfig), names[0]);
  EXPECT_EQ(chosen(names),
            "error: HF://u/r: holds 2 GGUF models; name one of its files as in HF://u/r/a-q4.gguf");
  EXPECT_EQ(chosen(names, Need::kModel, names[1]), names[1] + " " + names[2]);
  EXPECT_NE(chosen(names, Need::kModel, "a-q5.gguf").find("did you mean 'a-q4.gguf'?"), std::string::npos);
}

TEST(FileList, RefusesWhatHasNoModel) {
  EXPECT_NE(chosen({"config.json", "README.md"}).find("holds no weights"), std::string::npos);
  EXPECT_NE(chosen({"x/config.gguf", "y/config.gguf"}).find("error"), std::string::npos);
}

TEST(FileList, NamesNeverLeaveTheFolder) {
  for (const char* name : {"../x.json", "/etc/x.json", "a/../x.json", "a//x.json", "..", ".", "",
                           "a\\..\\x.json", "C:x.json", "x\n.json", "a/"})
    EXPECT_FALSE(check_file_name(name, "HF://u/r").is_ok()) << name;
  EXPECT_FALSE(check_file_name(std::string(256, 'a'), "HF://u/r").is_ok());
  EXPECT_FALSE(check_file_name(std::string("a\0b", 3), "HF://u/r").is_ok());
  EXPECT_TRUE(check_file_name("sub/..x..json", "HF://u/r").is_ok());
  // One evil name is enough, though the file would not be taken.
  auto list =
      parse_file_list(R"({"siblings":[{"rfilename":"config.json"},{"rfilename":"../../x"}]})", "HF://u/r");
  EXPECT_NE(list.status().message().find("the file name '../../x' could leave the model's folder"),
            std::string::npos);
  for (const char* text :
       {"", "[]", "{}", "{\"siblings\":3}", "{\"siblings\":[3]}", "{\"siblings\":[{\"rfilename\":7}]}",
        "{\"siblings\":[{\"rfilename\":\"a\",\"size\":-5}]}"})
    EXPECT_FALSE(parse_file_list(text, "HF://u/r").is_ok()) << text;
}

}  // namespace
}  // namespace mlc::hub
