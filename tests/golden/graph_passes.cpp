// Golden tests of the graph passes: tests/golden/graph/<pass>.txt holds cases of IR in and IR out.
//
// A case is "--- in", a module, "--- out", what the pass makes of it (plan_memory: its plan of each
// function). Text before the first case is for the reader. MLC_BLESS=1 writes the outputs that were got.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>

#include "base/env.h"
#include "base/file.h"
#include "graph/parse.h"
#include "graph/passes/choose_layouts.h"
#include "graph/passes/eliminate_dead_values.h"
#include "graph/passes/fuse_epilogues.h"
#include "graph/passes/fuse_norms.h"
#include "graph/passes/fuse_rope_append.h"
#include "graph/passes/group_experts.h"
#include "graph/passes/merge_equal_nodes.h"
#include "graph/passes/pipeline.h"
#include "graph/passes/plan_memory.h"
#include "graph/passes/quantize_activations.h"
#include "graph/passes/retain_windows.h"
#include "graph/passes/specialize_rows.h"
#include "graph/passes/split_attention.h"
#include "graph/passes/use_matrix_unit.h"
#include "graph/print.h"
#include "graph/verify.h"

namespace mlc::graph {
namespace {

Target cpu() {
  Target target;
  target.kind = "cpu";
  return target;
}

Target with_matrix_unit() {
  Target target = cpu();
  target.matrix_unit = {.rows = 16, .columns = 16, .depth = 32};
  return target;
}

std::string plans(const Module& module) {
  std::string out;
  for (const auto& f : module.functions) out += "func @" + f->name + "\n" + plan_memory(*f).text(*f);
  return out;
}

using Pass = std::function<std::string(Module&)>;

Pass rewrite(std::function<void(Module&)> pass) {
  return [pass](Module& m) {
    pass(m);
    EXPECT_EQ(verify(m), "");
    return print(m);
  };
}

const std::map<std::string, Pass>& passes() {
  static const Target target = cpu();
  static const std::map<std::string, Pass> table = {
      {"choose_layouts", rewrite([](Module& m) { choose_layouts(m, target); })},
      {"eliminate_dead_values", rewrite(eliminate_dead_values)},
      {"fuse_epilogues", rewrite(fuse_epilogues)},
      {"fuse_norms", rewrite([](Module& m) { fuse_norms(m, 256); })},
      {"fuse_rope_append", rewrite(fuse_rope_append)},
      {"group_experts", rewrite(group_experts)},
      {"merge_equal_nodes", rewrite(merge_equal_nodes)},
      {"plan_memory", plans},
      {"quantize_activations", rewrite(quantize_activations)},
      {"retain_windows", rewrite(retain_windows)},
      {"run_passes", rewrite([](Module& m) { run_passes(m, {.opt_level = 2, .target = &target}); })},
      {"specialize_rows", rewrite(specialize_rows)},
      {"split_attention", rewrite([](Module& m) { split_attention(m, 16); })},
      {"use_matrix_unit", rewrite([](Module& m) { use_matrix_unit(m, with_matrix_unit()); })},
  };
  return table;
}

std::string golden_path(const std::string& pass) {
  return std::string(MLC_SOURCE_DIR "/tests/golden/graph/") + pass + ".txt";
}

class GoldenTest : public ::testing::TestWithParam<std::string> {};

TEST_P(GoldenTest, ThePassMakesTheStoredText) {
  const std::string kIn = "--- in\n", kOut = "--- out\n", path = golden_path(GetParam());
  auto text = read_file(path);
  ASSERT_TRUE(text.is_ok()) << text.status().message();
  size_t at = text->find(kIn), cases = 0;
  std::string blessed = text->substr(0, at);
  while (at != std::string::npos) {
    size_t middle = text->find(kOut, at), end = text->find(kIn, at + 1);
    ASSERT_NE(middle, std::string::npos) << path << ": a case has no '--- out'";
    std::string input = text->substr(at + kIn.size(), middle - at - kIn.size());
    std::string expected =
        text->substr(middle + kOut.size(), end == std::string::npos ? end : end - middle - kOut.size());
    Module module = parse_module(input, path);
    ASSERT_EQ(verify(module), "") << path << ", case " << cases;
    std::string got = passes().at(GetParam())(module);
    blessed += kIn + input + kOut + got;
    if (!env::bless()) {
      EXPECT_EQ(got, expected) << path << ", case " << cases << "; MLC_BLESS=1 accepts the new text";
    }
    at = end;
    ++cases;
  }
  EXPECT_GT(cases, 0u);
  if (env::bless()) {
    ASSERT_TRUE(write_file(path, blessed).is_ok());
  }
}

std::vector<std::string> names() {
  std::vector<std::string> out;
  for (const auto& [name, pass] : passes()) out.push_back(name);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Graph, GoldenTest, ::testing::ValuesIn(names()),
                         [](const auto& info) { return info.param; });

TEST(GraphGolden, EveryPassOfThePipelineHasAFile) {
  for (const std::string& name : pass_names()) EXPECT_TRUE(passes().count(name)) << name;
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(MLC_SOURCE_DIR "/tests/golden/graph")) {
    EXPECT_TRUE(passes().count(entry.path().stem().string())) << entry.path() << " belongs to no pass";
    ++files;
  }
  EXPECT_EQ(files, passes().size());
}

}  // namespace
}  // namespace mlc::graph
