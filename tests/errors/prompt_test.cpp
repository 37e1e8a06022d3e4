// Prompts and settings that cannot be answered, and memory that does not exist.
#include <gtest/gtest.h>

#include "support/command.h"

namespace mlc {
namespace {

using testing::expect_error;
using testing::Outcome;
using testing::run_mlc_llm;

class PromptErrors : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    place_ = new testing::Workplace;
    folder_ = testing::converted(*place_, testing::toy_checkpoint(*place_), "q4f16_1", "q4");
    library_ = testing::compiled(*place_, folder_, "q4.so");
  }
  static void TearDownTestSuite() { delete place_; }

  static Outcome chat(const std::string& input) {
    return run_mlc_llm({"chat", folder_, "--model-lib", library_}, {.input = input});
  }

  static inline testing::Workplace* place_ = nullptr;
  static inline std::string folder_, library_;
};

TEST_F(PromptErrors, LongerThanTheContext) {
  Outcome o = chat("/set max_tokens=1\n" + std::string(4000, '7') + "\n");  // a token a digit
  expect_error(o, {"prompt has 40", "limit 255", "context_window_size"});
  expect_error(run_mlc_llm({"bench", folder_, "--model-lib", library_, "--prefill", "300"}),
               {"--prefill", "300", "256"});
}

TEST_F(PromptErrors, NotUtf8) {
  for (const char* bad : {"a\xff z", "\xc0\x80", "\xed\xa0\x80", "cut \xe2\x82"}) {
    expect_error(chat(std::string(bad) + "\n"), {"prompt", "UTF-8"});
    expect_error(run_mlc_llm({"chat", folder_, "--model-lib", library_, "--prompt", bad}),
                 {"prompt", "UTF-8"});
  }
}

TEST_F(PromptErrors, Settings) {
  expect_error(chat("/set temprature=1\n"), {"/set", "'temprature'", "did you mean 'temperature'"});
  expect_error(chat("/set temperature=-1\n"), {"temperature", "-1"});
  expect_error(chat("/set temperature=hot\n"), {"/set", "'temperature'", "'hot'", "a number"});
  expect_error(chat("/set max_tokens=1.5\n"), {"/set", "'max_tokens'", "'1.5'", "an integer"});
  expect_error(chat("/set temperature\n"), {"/set", "'temperature'", "no value"});
}

TEST_F(PromptErrors, NoMemoryForTheCache) {
  auto with_context = [](const std::string& tokens) {
    return run_mlc_llm({"chat", folder_, "--overrides", "context_window_size=" + tokens, "--prompt", "x"},
                       {.environment = {{"MLC_LLM_HOME", place_->path("home")}}});
  };
  Outcome o = with_context("2000000000");  // of 384 bytes each
  expect_error(o, {"kv cache 448.0 GB", "2000000000 tokens", "context_window_size", "--overrides"});
  EXPECT_LT(o.peak_bytes, int64_t{1} << 30);
  expect_error(with_context("99999999999999"), {"--overrides", "context_window_size", "99999999999999"});
  expect_error(with_context("-5"), {"--overrides", "context_window_size", "-5"});
}

}  // namespace
}  // namespace mlc
