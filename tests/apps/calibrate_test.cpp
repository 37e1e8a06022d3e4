// mlc_llm calibrate as a user runs it, and what bad input gets.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "support/command.h"

namespace mlc {
namespace {

using testing::Outcome;
using testing::run_mlc_llm;

class Calibrate : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new testing::Workplace;
    const std::string checkpoint = testing::toy_checkpoint(*shared_);
    folder_ = testing::converted(*shared_, checkpoint, "e4m3_e4m3_f16", "scales");
    other_ = testing::converted(*shared_, checkpoint, "q4f16_1", "q4");
  }
  static void TearDownTestSuite() { delete shared_; }

  // `count` conversations of so many words each.
  std::string dataset(int count, int words) const {
    Json list = Json::array();
    for (int i = 0; i < count; ++i) {
      std::string text = str("Number ", i);
      for (int w = 0; w < words; ++w) text += str(" word", w);
      list.push_back(
          {{"conversations", {{{"from", "human"}, {"value", text}}, {{"from", "gpt"}, {"value", text}}}}});
    }
    list.push_back({{"conversations", {{{"from", "human"}, {"value", "alone"}}}}});
    return place_.write("dataset.json", list.dump());
  }
  static Outcome calibrate(const std::string& dataset, const std::string& samples = "2",
                           const std::string& model = folder_, const std::string& output = folder_) {
    return run_mlc_llm(
        {"calibrate", model, "--dataset", dataset, "--num-calibration-samples", samples, "-o", output});
  }
  static std::string index() { return *read_file(folder_ + "/tensor-cache.json"); }

  static inline testing::Workplace* shared_ = nullptr;
  static inline std::string folder_, other_;
  testing::Workplace place_;
};

TEST_F(Calibrate, WritesScalesOnceAndForAll) {
  const std::string before = index(), texts = dataset(4, 6);
  const Outcome first = calibrate(texts);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_NE(first.out.find("scales of inputs"), std::string::npos) << first.out;
  const std::string after = index();
  EXPECT_NE(after, before);
  ASSERT_EQ(calibrate(texts).exit_code, 0);
  EXPECT_EQ(index(), after);  // the same seed draws the same
  EXPECT_EQ(*read_file(folder_ + "/ndarray-cache.json"), after);
}

TEST_F(Calibrate, RefusesInOneSentenceAndLeavesTheFolder) {
  const std::string before = index();
  auto refuses = [&](const Outcome& o, const std::string& words) {
    EXPECT_EQ(o.exit_code, 1);
    EXPECT_EQ(o.err.find("error: "), 0u) << o.err;
    EXPECT_NE(o.err.find(words), std::string::npos) << o.err;
    EXPECT_EQ(index(), before);
  };
  refuses(calibrate(dataset(3, 6), "5"), "has 3 conversations");
  refuses(calibrate(dataset(3, 6), "0"), "--num-calibration-samples");
  const std::string three =
      place_.write("three.json", R"([{"conversations": [{"value": "a"}, {"value": "b"}]}])");  // tokens
  refuses(calibrate(three, "1"), "has 0 conversations with a question of 4 to 1024 tokens");
  refuses(calibrate(place_.write("text.json", "a text"), "1"), "--dataset: ");
  refuses(calibrate(place_.write("map.json", "{}"), "1"), "is not a list");
  refuses(calibrate(place_.path("none.json"), "1"), "--dataset: ");
  refuses(calibrate(dataset(3, 6), "2", other_), "is of q4f16_1");
  refuses(calibrate(dataset(3, 6), "2", folder_, other_), "has no '");
  refuses(run_mlc_llm({"calibrate", folder_, "-o", folder_}), "--dataset");
}

// Chat and bench take the folder as any other.
TEST_F(Calibrate, AFolderOfFloat8Runs) {
  testing::remove_end_tokens(folder_);
  const std::string library = testing::compiled(place_, folder_, "f8.so");
  const Outcome o = run_mlc_llm({"chat", folder_, "--model-lib", library}, {.input = "Hello\n"});
  EXPECT_EQ(o.exit_code, 0) << o.err;
}

}  // namespace
}  // namespace mlc
