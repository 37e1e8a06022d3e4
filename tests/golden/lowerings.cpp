// Golden tests of the lowerings: tests/golden/lower/<op>.txt holds cases of one graph node in and its kernels
// out.
//
// A case is "--- in", a module of one function with one node, then "--- cpu" and "--- gpu" with the kernel
// for a target of that kind as it leaves the lowering, before any pass; a case leaves out the side that has
// no such form. Text before the first case is for the reader. MLC_BLESS=1 writes the kernels that were got.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/env.h"
#include "base/file.h"
#include "base/strings.h"
#include "graph/ops/registry.h"
#include "graph/parse.h"
#include "graph/verify.h"
#include "kernel/lower/lower.h"
#include "kernel/parse.h"
#include "kernel/print.h"
#include "kernel/verify.h"

namespace mlc::kernel {
namespace {

// Descriptions with little: vectors of four floats, and a GPU of no class that is known.
Target target_of(const std::string& side) {
  if (side == "cpu") return {.kind = "cpu", .name = "cpu"};
  Target gpu = targets_for_device("opencl")->back();
  gpu.name = "gpu";
  return gpu;
}

std::string lower_text(const std::string& module_text, const std::string& path, const std::string& side) {
  graph::Module module = graph::parse_module(module_text, path);
  graph::Function& f = *module.functions.at(0);
  EXPECT_EQ(f.nodes.size(), 1u) << path << ": a case is one node";
  const Target target = target_of(side);
  const graph::Guard rows = f.guard_of(Dim::symbol("rows"));
  LowerOptions options{.target = &target, .min_rows = rows.min, .max_rows = rows.max};
  f.guards.clear();  // a module's last body has none
  EXPECT_EQ(graph::verify(module), "") << path;
  Function kernel = lower_node(*f.nodes[0], module, options).function;
  EXPECT_EQ(verify(kernel), "") << path;
  std::string text = print(kernel);
  EXPECT_EQ(print(parse(text)), text) << path;
  return text;
}

struct Section {
  std::string title, text;  // "in", "cpu" or "gpu", and the lines up to the next one
};

// The reader's text, then the sections.
std::vector<Section> sections_of(const std::string& text) {
  std::vector<Section> out = {{"", ""}};
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
    std::string line = text.substr(at, end - at);
    if (line.rfind("--- ", 0) == 0)
      out.push_back({line.substr(4, line.size() - 5), ""});
    else
      out.back().text += line;
    at = end;
  }
  return out;
}

class LowerGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(LowerGolden, TheNodeBecomesTheStoredKernel) {
  const std::string path = std::string(MLC_SOURCE_DIR "/tests/golden/lower/") + GetParam() + ".txt";
  auto text = read_file(path);
  ASSERT_TRUE(text.is_ok()) << text.status().message();
  std::vector<Section> sections = sections_of(*text);
  std::string input, blessed = sections[0].text;
  size_t kernels = 0;
  for (size_t i = 1; i < sections.size(); ++i) {
    Section& s = sections[i];
    if (s.title == "in") {
      input = s.text;
      EXPECT_NE(input.find(str(GetParam(), "(")), std::string::npos) << path << ": a case of another op";
    } else {
      ASSERT_TRUE(s.title == "cpu" || s.title == "gpu") << path << ": unknown section " << s.title;
      std::string got = lower_text(input, path, s.title);
      if (!env::bless()) {
        EXPECT_EQ(got, s.text) << path << ", " << s.title << "; MLC_BLESS=1 accepts the new text";
      }
      s.text = got;
      ++kernels;
    }
    blessed += str("--- ", s.title, "\n", s.text);
  }
  EXPECT_GT(kernels, 0u) << path << " holds no kernel";
  if (env::bless()) {
    ASSERT_TRUE(write_file(path, blessed).is_ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Lower, LowerGolden, ::testing::ValuesIn(graph::op_names()),
                         [](const auto& info) { return info.param; });

TEST(LowerGoldenFiles, BelongToOps) {
  for (const auto& entry : std::filesystem::directory_iterator(MLC_SOURCE_DIR "/tests/golden/lower"))
    EXPECT_NE(graph::find_op(entry.path().stem().string()), nullptr) << entry.path() << " belongs to no op";
}

}  // namespace
}  // namespace mlc::kernel
