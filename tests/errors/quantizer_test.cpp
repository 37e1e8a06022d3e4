// What --quantizer and --calibration refuse: one sentence each, and nothing is written.
#include <gtest/gtest.h>

#include "support/command.h"

namespace mlc {
namespace {

class QuantizerErrors : public ::testing::Test {
 protected:
  void expect(const std::vector<std::string>& flags, const std::vector<std::string>& words,
              const std::string& quantization = "q4f16_1") {
    std::vector<std::string> arguments = {"convert_weight", model_, "--quantization",
                                          quantization,     "-o",   out_ + "/new"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    SCOPED_TRACE(::testing::PrintToString(arguments));
    const testing::Outcome outcome = testing::run_mlc_llm(arguments);
    testing::expect_error(outcome, words);
    EXPECT_EQ(place_.list("out"), std::vector<std::string>{});
  }

  testing::Workplace place_;
  std::string model_ = testing::toy_checkpoint(place_), out_ = place_.make_folder("out");
};

TEST_F(QuantizerErrors, UnknownNames) {
  expect({"--quantizer", "bset"}, {"--quantizer: found 'bset', expected mlc, good or best", "'best'"});
  expect({"--quantizer", ""}, {"--quantizer", "expected mlc, good or best"});
  expect({"--quantizer"}, {"--quantizer"});
}

TEST_F(QuantizerErrors, FormatsWithoutCodesToChoose) {
  for (const char* quantization : {"q0f16", "q0f32", "q4f32_0"})
    expect({"--quantizer", "good"}, {"--quantizer: ", quantization, "has no codes to choose"}, quantization);
  expect({"--quantizer", "best"}, {"--quantization: q4f16_autoawq takes weights that AWQ or GPTQ quantized"},
         "q4f16_autoawq");
}

TEST_F(QuantizerErrors, Calibration) {
  const std::string three = place_.write("three.txt", "a b c");
  expect({"--calibration", three},
         {"--calibration: --quantizer mlc reads no text", "--quantizer good or best"});
  for (const char* quantizer : {"good", "best"}) {
    expect({"--quantizer", quantizer, "--calibration", three},
           {"--calibration: ", "three.txt has ", " tokens, expected at least 256"});
    expect({"--quantizer", quantizer, "--calibration", place_.write("empty.txt", "")},
           {"--calibration: ", "empty.txt has ", " tokens, expected at least 256"});
    expect({"--quantizer", quantizer, "--calibration", place_.path("gone.txt")},
           {"--calibration: ", "gone.txt"});
    expect({"--quantizer", quantizer, "--calibration", place_.make_folder("folder")},
           {"--calibration: ", "folder"});
  }
}

}  // namespace
}  // namespace mlc
