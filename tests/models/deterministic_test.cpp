// Compiling is a function: the same model and options give the same bytes, whatever the memory of the process
// looks like.
#include <gtest/gtest.h>

#include "support/compiled_model.h"

namespace mlc::testing {
namespace {

std::string library_for(const std::vector<Target>& targets, const std::string& scheme) {
  CompileOptions options;
  options.targets = targets;
  return must(compile_model(toy_config("llama", scheme), "mlc-chat-config.json", options)).library;
}

class Deterministic : public ::testing::TestWithParam<std::string> {};

TEST_P(Deterministic, SameBytesTwice) {
  const std::vector<Target> targets =
      GetParam() == "cpu" ? must(targets_for_host("auto")) : must(targets_for_device(GetParam()));
  const std::string first = library_for(targets, "q4f16_1");
  std::vector<std::string> in_the_way;  // what is freed and taken moves the next compilation's objects
  for (size_t i = 0; i < 1000; ++i) in_the_way.emplace_back(16 + i * 37 % 300, 'x');
  for (size_t i = 0; i < in_the_way.size(); i += 3) in_the_way[i] = std::string();
  EXPECT_EQ(library_for(targets, "q4f16_1") == first, true);
  EXPECT_EQ(library_for(targets, "q3f16_1") == first, false);
}

std::vector<std::string> devices() {
  std::vector<std::string> names = gpu_device_names();
  names.push_back("cpu");
  return names;
}

INSTANTIATE_TEST_SUITE_P(Devices, Deterministic, ::testing::ValuesIn(devices()), [](const auto& info) {
  std::string name = info.param;
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
});

}  // namespace
}  // namespace mlc::testing
