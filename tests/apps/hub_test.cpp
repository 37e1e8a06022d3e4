// Models by name: every command that takes a folder takes HF://user/repo, of a hub that this test runs.
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/command.h"
#include "support/hub_server.h"

namespace mlc {
namespace {

using testing::HubServer;
using testing::Outcome;

class Hub : public ::testing::Test {
 protected:
  Hub() {
    const std::string checkpoint = testing::toy_checkpoint(place);
    std::map<std::string, std::string> files;
    for (const std::string& name : place.list("llama"))
      files[name] = read_file(checkpoint + "/" + name).value();
    hub.add_repo("user/toy", files);
  }
  Outcome run(std::vector<std::string> arguments, std::map<std::string, std::string> more = {}) {
    std::map<std::string, std::string> environment = {{"MLC_LLM_HOME", place.path("home")},
                                                      {"HF_ENDPOINT", hub.url()},
                                                      {"MLC_DOWNLOAD_CACHE_POLICY", "ON"},
                                                      {"HF_TOKEN", ""}};
    for (auto& [key, value] : more) environment[key] = value;
    return testing::run_mlc_llm(arguments, {.environment = environment});
  }
  void expect_well(const Outcome& o) { EXPECT_EQ(o.exit_code, 0) << o.err; }

  testing::Workplace place;
  HubServer hub;
};

TEST_F(Hub, EveryCommandTakesAName) {
  const std::string folder = place.path("out");
  expect_well(run({"gen_config", "HF://user/toy", "--quantization", "q4f16_1", "-o", folder}));
  EXPECT_EQ(hub.count("safetensors HTTP"), 0);  // a config needs no weights
  expect_well(
      run({"convert_weight", hub.url() + "/user/toy/tree/main", "--quantization", "q4f16_1", "-o", folder}));
  EXPECT_TRUE(file_exists(place.path("home/model_weights/hf/user/toy/model.safetensors")));
  Outcome chat = run({"chat", "HF://user/toy", "--prompt", "Hello", "--max-tokens", "3"});
  expect_well(chat);
  EXPECT_NE(chat.err.find("model_weights/local/toy-q4f16_1"), std::string::npos) << chat.err;
  EXPECT_EQ(hub.count("safetensors HTTP"), 1);

  // What was converted is a repository too, and everything works without the hub.
  std::map<std::string, std::string> files;
  for (const std::string& name : place.list("out")) files[name] = read_file(folder + "/" + name).value();
  hub.add_repo("user/toy-MLC", files);
  expect_well(run({"compile", "HF://user/toy-MLC", "-o", place.path("a.so")}));
  EXPECT_EQ(hub.count("params_shard_0.bin"), 0);
  expect_well(run({"chat", "HF://user/toy-MLC", "--model-lib", place.path("a.so"), "--prompt", "Hi",
                   "--max-tokens", "3"}));
  expect_well(run(
      {"chat", "hf://user/toy-MLC", "--model-lib", place.path("a.so"), "--prompt", "Hi", "--max-tokens", "3"},
      {{"HF_ENDPOINT", "http://127.0.0.1:9"}, {"MLC_DOWNLOAD_CACHE_POLICY", "READONLY"}}));
}

TEST_F(Hub, MistakesAreOneSentence) {
  const std::vector<std::string> out = {"--quantization", "q4f16_1", "-o", place.path("out")};
  auto convert = [&](const std::string& model, std::map<std::string, std::string> environment = {}) {
    std::vector<std::string> words = {"convert_weight", model};
    words.insert(words.end(), out.begin(), out.end());
    return run(words, environment);
  };
  testing::expect_error(convert("HF://user/tay"), {"HF://user/tay: ", "no such model (404)"});
  testing::expect_error(convert("HF://user"), {"HF://user: "});
  testing::expect_error(convert("HF://user/toy/x/../y"),
                        {"HF://user/toy/x/../y: ", "leave the model's folder"});
  testing::expect_error(convert("HF://user/toy", {{"HF_ENDPOINT", "http://127.0.0.1:9"}}),
                        {"HF://user/toy: cannot reach http://127.0.0.1:9: ", "HF_ENDPOINT"});
  testing::expect_error(convert("HF://user/toy", {{"MLC_DOWNLOAD_CACHE_POLICY", "READONLY"}}), {"READONLY"});
  testing::expect_error(convert("HF://user/toy", {{"HF_ENDPOINT", "hub"}}), {"HF_ENDPOINT: found 'hub'"});
  EXPECT_FALSE(is_directory(place.path("out")));
}

TEST_F(Hub, AFullDiskKeepsWhatIsThere) {
  std::map<std::string, std::string> environment = {{"MLC_LLM_HOME", place.path("home")},
                                                    {"HF_ENDPOINT", hub.url()}};
  Outcome o = testing::run_mlc_llm({"chat", "HF://user/toy", "--prompt", "x"},
                                   {.environment = environment, .file_limit = 20000});
  testing::expect_error(o, {"HF://user/toy: ", "cannot write to ", "make room"});
  EXPECT_FALSE(file_exists(place.path("home/model_weights/hf/user/toy/model.safetensors")));
  EXPECT_TRUE(file_exists(place.path("home/model_weights/hf/user/toy/model.safetensors.part")));
}

}  // namespace
}  // namespace mlc
