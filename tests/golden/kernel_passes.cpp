// Golden tests of the kernel passes: tests/golden/kernel/<pass>.txt holds cases of kernel text in and out.
//
// A case is "--- in", a kernel, "--- out", what the pass makes of it. Text before the first case is for the
// reader. MLC_BLESS=1 writes the outputs that were got. The target of `legalize` is one that has nothing.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>

#include "base/env.h"
#include "base/file.h"
#include "kernel/parse.h"
#include "kernel/passes/expand_math.h"
#include "kernel/passes/expand_subgroups.h"
#include "kernel/passes/legalize.h"
#include "kernel/passes/narrow_indices.h"
#include "kernel/passes/place_shared.h"
#include "kernel/passes/unify_accesses.h"
#include "kernel/print.h"
#include "kernel/verify.h"

namespace mlc::kernel {
namespace {

using Pass = std::function<Function(Function)>;

const std::map<std::string, Pass>& passes() {
  static const std::map<std::string, Pass> table = {
      {"expand_math", expand_math},
      {"expand_subgroups", [](Function f) { return expand_subgroups(std::move(f), Target{}); }},
      {"legalize", [](Function f) { return legalize(std::move(f), Target{}); }},
      {"narrow_indices", narrow_indices},
      {"place_shared", place_shared},
      {"unify_accesses", unify_accesses},
  };
  return table;
}

class KernelGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(KernelGolden, ThePassMakesTheStoredText) {
  const std::string kIn = "--- in\n", kOut = "--- out\n";
  std::string path = std::string(MLC_SOURCE_DIR "/tests/golden/kernel/") + GetParam() + ".txt";
  auto text = read_file(path);
  ASSERT_TRUE(text.is_ok()) << text.status().message();
  size_t at = text->find(kIn);
  ASSERT_NE(at, std::string::npos) << path << " holds no case";
  std::string blessed = text->substr(0, at);
  while (at != std::string::npos) {
    size_t middle = text->find(kOut, at), end = text->find(kIn, at + 1);
    ASSERT_NE(middle, std::string::npos) << path << ": a case has no '--- out'";
    std::string input = text->substr(at + kIn.size(), middle - at - kIn.size());
    std::string expected =
        text->substr(middle + kOut.size(), end == std::string::npos ? end : end - middle - kOut.size());
    Function kernel = parse(input);
    ASSERT_EQ(verify(kernel), "") << path;
    ASSERT_EQ(print(kernel), input) << path << ": the input is not as print writes it";
    Function result = passes().at(GetParam())(kernel);
    EXPECT_EQ(verify(result), "") << path;
    std::string got = print(result);
    EXPECT_EQ(print(parse(got)), got);
    blessed += kIn + input + kOut + got;
    if (!env::bless()) {
      EXPECT_EQ(got, expected) << path << "; MLC_BLESS=1 accepts the new text";
    }
    at = end;
  }
  if (env::bless()) {
    ASSERT_TRUE(write_file(path, blessed).is_ok());
  }
}

std::vector<std::string> names() {
  std::vector<std::string> out;
  for (const auto& [name, pass] : passes()) out.push_back(name);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Kernel, KernelGolden, ::testing::ValuesIn(names()),
                         [](const auto& info) { return info.param; });

TEST(KernelGoldenFiles, EveryPassHasOne) {
  size_t sources = 0;
  for (const auto& entry : std::filesystem::directory_iterator(MLC_SOURCE_DIR "/src/kernel/passes"))
    if (std::string name = entry.path().stem().string();
        entry.path().extension() == ".h" && name != "rewrite") {
      EXPECT_TRUE(passes().count(name)) << name << " has no golden file";
      ++sources;
    }
  EXPECT_EQ(sources, passes().size());
}

}  // namespace
}  // namespace mlc::kernel
