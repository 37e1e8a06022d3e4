// Folders that build.py made in 2023 run as they are: every command that takes a converted folder takes them.
#include "support/folder_2023.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/json.h"
#include "support/command.h"
#include "support/toys.h"

namespace mlc {
namespace {

using testing::Outcome;
using testing::run_mlc_llm;

class Folder2023 : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string checkpoint = testing::toy_checkpoint(place_, "source", GetParam());
    today_ = testing::converted(place_, checkpoint, "q4f16_0_2023", "today");
    old_ = place_.make_folder("old");
    const std::string name = std::string(GetParam()) == "llama" ? "vicuna_v1.1" : "redpajama_chat";
    testing::Folder2023(today_, read_json_file(checkpoint + "/config.json").value()).write(old_, name);
    std::filesystem::copy_file(checkpoint + "/tokenizer.json", old_ + "/tokenizer.json");
    Json config = read_json_file(today_ + "/mlc-chat-config.json").value();
    config["conv_template"] = name;
    place_.write("today/mlc-chat-config.json", json_text(config));
  }
  Outcome run(std::vector<std::string> arguments) {
    return run_mlc_llm(arguments, {.environment = {{"MLC_LLM_HOME", place_.path("home")}}});
  }
  std::string answer(const std::string& folder, std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(), {"chat", folder, "--device", "cpu", "--prompt", "hello there",
                                 "--temperature", "0", "--max-tokens", "16"});
    const Outcome o = run(flags);
    EXPECT_EQ(o.exit_code, 0) << o.err;
    return o.out;
  }

  testing::Workplace place_;
  std::string today_, old_;
};

TEST_P(Folder2023, Runs) {
  const std::string expected = answer(today_);
  EXPECT_GT(expected.size(), 4u);
  EXPECT_EQ(answer(old_), expected);
  const std::string library = place_.path("old.so"), json = place_.path("r.json");
  const Outcome compile = run({"compile", old_, "--device", "cpu", "-o", library});
  ASSERT_EQ(compile.exit_code, 0) << compile.err;
  EXPECT_EQ(answer(old_, {"--model-lib", library}), expected);
  const Outcome bench =
      run({"bench", old_, "--model-lib", library, "--prefill", "8", "--decode", "2", "--repeat", "1"});
  EXPECT_EQ(bench.exit_code, 0) << bench.err;
  const Outcome info = run({"info", old_});
  EXPECT_EQ(info.exit_code, 0) << info.err;
  for (const char* word : {"made by          build.py of 2023", "quantization     q4f16_0_2023", GetParam()})
    EXPECT_NE(info.out.find(word), std::string::npos) << info.out;
  EXPECT_EQ(info.out.find("incomplete"), std::string::npos) << info.out;
  const Outcome verify = run({"verify", today_, old_, "--positions", "30", "--json", json});
  ASSERT_EQ(verify.exit_code, 0) << verify.err;
  EXPECT_EQ(read_json_file(json).value()["kl_divergence_max"], 0.0);
}

TEST_P(Folder2023, Refused) {
  auto chat = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"chat", old_, "--device", "cpu", "--prompt", "hi"});
    return run(flags);
  };
  // A library of TVM is an ELF file without our symbol, such as this program's own toolchain makes.
  const std::string tvm = place_.write("toy-q4f16_0-vulkan.so",
                                       "\x7F"
                                       "ELF\2\1\1" +
                                           std::string(200, '\0'));
  testing::expect_error(chat({"--model-lib", tvm}),
                        {"toy-q4f16_0-vulkan.so", "TVM", "compile the model again"});
  // Without a config.json a toy is of no size that was built in 2023.
  std::filesystem::remove(old_ + "/config.json");
  testing::expect_error(chat({}), {"old/mlc-chat-config.json: the weights beside it are of 2023", GetParam(),
                                   "put the checkpoint's config.json beside them"});
  testing::expect_error(run({"verify", today_, old_}), {"old/mlc-chat-config.json: ", "config.json"});
  place_.write("old/config.json", "{");
  testing::expect_error(chat({}), {"old/config.json"});
  // A record that is not what its place says.
  std::filesystem::copy_file(place_.path("source/config.json"), old_ + "/config.json",
                             std::filesystem::copy_options::overwrite_existing);
  std::string index = read_file(old_ + "/ndarray-cache.json").value();
  for (const auto& [from, to] : {std::pair{"\"param_1\"", "\"param_x\""},
                                 {"\"param_2\"", "\"param_1\""},
                                 {"\"param_x\"", "\"param_2\""}})
    index.replace(index.find(from), 9, to);
  place_.write("old/ndarray-cache.json", index);
  testing::expect_error(chat({}),
                        {"old/ndarray-cache.json: tensor param_", "expected ", "by the order of 2023"});
}

INSTANTIATE_TEST_SUITE_P(Toys, Folder2023, ::testing::Values("gpt_neox", "llama"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mlc
