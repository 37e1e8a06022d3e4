// mlc_llm verify: what it prints and writes, and what it refuses in one sentence.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "support/command.h"

namespace mlc {
namespace {

using testing::Outcome;
using testing::run_mlc_llm;

class VerifyCommand : public ::testing::Test {
 protected:
  void expect(std::vector<std::string> arguments, const std::vector<std::string>& words) {
    arguments.insert(arguments.begin(), "verify");
    for (const char* flag : {"-o", "--json"})
      if (std::ranges::find(arguments, flag) == arguments.end())
        arguments.insert(arguments.end(), {flag, out_ + "/file" + flag});
    SCOPED_TRACE(::testing::PrintToString(arguments));
    testing::expect_error(run_mlc_llm(arguments), words);
    EXPECT_EQ(place_.list("out"), std::vector<std::string>{});
  }

  testing::Workplace place_;
  std::string model_ = testing::toy_checkpoint(place_), out_ = place_.make_folder("out");
};

TEST_F(VerifyCommand, ComparesAnyTwo) {
  const std::string folder = testing::converted(place_, model_, "q4f16_1", "q4");
  const std::string text = place_.write("text.txt", std::string(300, 'a') + " b c d e f");
  const std::string json = place_.path("r.json"), png = place_.path("r.png");
  for (const auto& [a, b] :
       {std::pair{model_, model_}, {folder, folder}, {model_, folder}, {folder, model_}}) {
    SCOPED_TRACE(a + " " + b);
    const Outcome o =
        run_mlc_llm({"verify", a, b, "--text", text, "--positions", "20", "--json", json, "-o", png});
    ASSERT_EQ(o.exit_code, 0) << o.err;
    const Json report = read_json_file(json).value();
    EXPECT_EQ(report["positions"], 20);
    EXPECT_EQ(report["text"], text);
    EXPECT_EQ(report["source"], a);
    EXPECT_EQ(report["by_position"]["same_top"].size(), 20u);
    EXPECT_EQ(report["kl_divergence"] == 0.0, a == b) << report["kl_divergence"];
    EXPECT_EQ(report["top1_agreement"] == 1.0 || a != b, true);
    EXPECT_EQ(read_file(png).value().substr(1, 3), "PNG");
    for (const char* word : {"KL divergence", "same top", "perplexity", "all"})
      EXPECT_NE(o.out.find(word), std::string::npos) << o.out;
  }
  EXPECT_FALSE(file_exists(folder + "/verify.json")) << "a comparison leaves both models as they are";
}

// convert_weight --verify leaves report and picture beside the weights, also where there is no config yet.
TEST_F(VerifyCommand, IsDoneAfterAConversion) {
  const std::string out = place_.path("new");
  const Outcome o =
      run_mlc_llm({"convert_weight", model_, "--quantization", "q4f16_1", "-o", out, "--verify"});
  ASSERT_EQ(o.exit_code, 0) << o.err;
  EXPECT_NE(o.out.find("same top"), std::string::npos);
  EXPECT_GT(read_json_file(out + "/verify.json").value()["kl_divergence"], 0.0);
  EXPECT_EQ(read_file(out + "/verify.png").value().substr(1, 3), "PNG");
  const Outcome info = run_mlc_llm({"info", out});
  EXPECT_NE(info.out.find("top-1"), std::string::npos) << info.out << info.err;
}

TEST_F(VerifyCommand, Places) {
  const std::string empty = place_.make_folder("empty");
  expect({model_}, {"converted"});
  expect({model_, place_.path("gone")}, {"gone: no such file or folder; expected a converted folder"});
  expect({place_.path("gone"), model_}, {"gone: no such file or folder"});
  expect({model_, empty}, {"empty holds no config.json and no GGUF file"});
  expect({model_, place_.write("x.gguf", "GGUF")}, {"x.gguf"});
  const std::string folder = testing::converted(place_, model_, "q4f16_1", "q4");
  std::string config = read_file(folder + "/mlc-chat-config.json").value();
  place_.write("q4/mlc-chat-config.json", "{");
  expect({model_, folder}, {"q4/mlc-chat-config.json"});
  config.replace(config.find("q4f16_1"), 7, "q4f16_7");
  place_.write("q4/mlc-chat-config.json", config);
  expect({model_, folder}, {"mlc-chat-config.json: ", "q4f16_7", "q4f16_1"});
  config.replace(config.find("q4f16_7"), 7, "q3f16_1");
  place_.write("q4/mlc-chat-config.json", config);
  expect({model_, folder}, {"tensor-cache.json: tensor ", "expected uint32 [", "by its config"});
}

TEST_F(VerifyCommand, ModelsThatDoNotBelongTogether) {
  expect({model_, testing::toy_checkpoint(place_, "neox", "gpt_neox")},
         {"neox: its tokenizer makes other tokens"});
  // Another tokenizer over the same vocabulary.
  const std::string twin = testing::toy_checkpoint(place_, "twin");
  Json tokenizer = read_json_file(twin + "/tokenizer.json").value();
  Json& vocab = tokenizer["model"]["vocab"];
  ASSERT_TRUE(vocab.is_object());
  std::swap(vocab["e"], vocab["t"]);
  place_.write("twin/tokenizer.json", json_text(tokenizer));
  expect({model_, twin}, {"twin: its tokenizer makes other tokens of the text than that of ", "expected"});
}

TEST_F(VerifyCommand, Flags) {
  expect({model_, model_, "--text", place_.path("gone.txt")}, {"--text: ", "gone.txt"});
  expect({model_, model_, "--text", place_.make_folder("folder")}, {"--text: ", "folder"});
  expect({model_, model_, "--text", place_.write("empty.txt", "")}, {"fewer than two tokens of the text"});
  expect({model_, model_, "--positions", "0"}, {"--positions", "found '0', expected a whole number from 1"});
  expect({model_, model_, "--window", "1"}, {"--window", "found '1'"});
  expect({model_, model_, "--threads", "0"}, {"--threads"});
  const std::string unwritable = place_.path("gone/x.png");
  expect({model_, model_, "-o", unwritable}, {"gone/x.png"});
  expect({model_, model_, "--json", place_.path("gone/x.json")}, {"gone/x.json"});
}

}  // namespace
}  // namespace mlc
