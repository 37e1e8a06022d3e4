// Tests of the meaning of the ops of a mixture of experts on values worked out by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/strings.h"
#include "base/user_error.h"
#include "graph/interpret.h"
#include "graph/parse.h"
#include "graph/passes/group_experts.h"
#include "graph/verify.h"

namespace mlc::graph {
namespace {

using Floats = std::vector<float>;
using Ints = std::vector<int32_t>;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

HostTensor floats(std::vector<int64_t> shape, Floats values) {
  return {DType::kF32, std::move(shape), std::move(values), {}};
}
HostTensor ints(std::vector<int64_t> shape, Ints values) {
  return {DType::kI32, std::move(shape), {}, std::move(values)};
}

std::vector<HostTensor> run(const std::string& text, const std::map<std::string, HostTensor>& arguments,
                            const std::map<std::string, HostTensor>& parameters = {}) {
  Module module = parse_module(text);
  EXPECT_EQ(verify(module), "");
  std::map<std::string, HostState> states;
  return interpret(
      module, "f", arguments,
      [&](const std::string& name) -> const HostTensor& { return parameters.at(name); }, states);
}

std::string route(int64_t experts, const std::string& attributes) {
  return str("module @m { func @f(%x: f32[rows, ", experts, "]) {\n",
             "%0: i32[rows, 2], %1: f32[rows, 2] = route(%x) {", attributes, "}\n return %0, %1\n } }");
}

TEST(Route, PicksTheLargestAndOfEqualOnesTheFirst) {
  const float half = std::log(2.0f);
  auto out = run(route(4, "k = 2"), {{"x", floats({2, 4}, {0, half, 0, 0, half, 0, half, 0})}});
  EXPECT_EQ(out[0].ints, (Ints{1, 0, 0, 2}));
  const Floats expected = {2 / 5.0f, 1 / 5.0f, 2 / 6.0f, 2 / 6.0f};
  for (size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(out[1].floats[i], expected[i]);
  out = run(route(4, "k = 2, renormalize = true"), {{"x", floats({1, 4}, {0, half, 0, 0})}});
  EXPECT_FLOAT_EQ(out[1].floats[0], 2 / 3.0f);
  EXPECT_FLOAT_EQ(out[1].floats[1], 1 / 3.0f);
}

// Groups {0, 1}, {2, 3}, {4, 5}; of equal ones the first.
TEST(Route, ChoosesFromTheBestGroups) {
  const std::string groups = "k = 2, groups = 3, kept_groups = 2, scale = 3.0";
  const float log2 = std::log(2.0f), log3 = std::log(3.0f), log4 = std::log(4.0f);
  auto out =
      run(route(6, groups), {{"x", floats({2, 6}, {0, 0, log3, 0, log4, 0, 0, log2, 0, log2, 0, log2})}});
  EXPECT_EQ(out[0].ints, (Ints{4, 2, 1, 3}));
  const Floats expected = {3 * 4 / 11.0f, 3 * 3 / 11.0f, 3 * 2 / 9.0f, 3 * 2 / 9.0f};
  for (size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(out[1].floats[i], expected[i]);
  out = run(route(6, "k = 2, groups = 3, kept_groups = 1"), {{"x", floats({1, 6}, {4, -9, 5, 0, 3, 3})}});
  EXPECT_EQ(out[0].ints, (Ints{2, 3}));
}

TEST(Route, NanMakesWeightsNanAndNoIdLeavesTheTable) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (std::string attributes : {"k = 2", "k = 2, renormalize = true"}) {
    auto out = run(route(3, attributes),
                   {{"x", floats({3, 3}, {kNaN, kNaN, kNaN, 1, kNaN, 2, -infinity, infinity, 1})}});
    EXPECT_EQ(out[0].ints, (Ints{0, 1, 2, 0, 1, 2})) << attributes;
    for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(std::isnan(out[1].floats[i])) << attributes;
    EXPECT_EQ(out[1].floats[4], 1) << attributes;
    EXPECT_EQ(out[1].floats[5], 0) << attributes;
  }
}

constexpr const char* kBlock = R"(module @m {
  param @up : f32[3, 4, 2]
  param @down : f32[3, 2, 2]
  func @f(%x: f32[rows, 2], %logits: f32[rows, 3]) {
    %0: i32[rows, 2], %1: f32[rows, 2] = route(%logits) {k = 2}
    %2: f32[(rows * 2), 4] = expert_matmul(%x, @up, %0)
    %3: f32[(rows * 2), 2] = map(%2) region(relu(gate) * up)
    %4: f32[(rows * 2), 2] = expert_matmul(%3, @down, %0)
    %5: f32[rows, 2] = expert_sum(%4, %1)
    return %5
  }
})";

// Expert e gates x with itself and scales by e + 1, so that each row is x * x times the mean of its experts.
TEST(Experts, BlocksGiveTheSameInEitherOrder) {
  Floats up, down;
  for (float scale : {1.0f, 2.0f, 3.0f}) {
    up.insert(up.end(), {1, 0, 0, 1, 1, 0, 0, 1});
    down.insert(down.end(), {scale, 0, 0, scale});
  }
  std::map<std::string, HostTensor> parameters = {{"up", floats({3, 4, 2}, up)},
                                                  {"down", floats({3, 2, 2}, down)}};
  const float none = -1e30f;
  std::map<std::string, HostTensor> arguments = {
      {"x", floats({3, 2}, {1, 2, 3, 4, 5, 6})},
      {"logits", floats({3, 3}, {0, none, 0, none, 1, 1, 7, 7, none})}};
  const Floats expected = {2, 8, 2.5f * 9, 2.5f * 16, 1.5f * 25, 1.5f * 36};
  EXPECT_EQ(run(kBlock, arguments, parameters)[0].floats, expected);
  Module module = parse_module(kBlock);
  group_experts(module);
  EXPECT_EQ(verify(module), "");
  EXPECT_EQ(module.functions[0]->nodes[1]->op, "group_slots");
  std::map<std::string, HostState> states;
  auto parameter = [&](const std::string& name) -> const HostTensor& { return parameters.at(name); };
  EXPECT_EQ(interpret(module, "f", arguments, parameter, states)[0].floats, expected);
}

TEST(Experts, SlotsAreSortedByExpertAndFoundAgain) {
  constexpr const char* kGroup = R"(module @m { func @f(%ids: i32[rows, 2]) {
    %0: i32[(rows * 2)], %1: i32[rows, 2], %2: i32[5] = group_slots(%ids) {experts = 4}
    return %0, %1, %2
  } })";
  auto out = run(kGroup, {{"ids", ints({3, 2}, {3, 1, 1, 0, 3, 0})}});
  EXPECT_EQ(out[0].ints, (Ints{1, 2, 0, 1, 0, 2}));
  EXPECT_EQ(out[1].ints, (Ints{4, 2, 3, 0, 5, 1}));
  EXPECT_EQ(out[2].ints, (Ints{0, 2, 4, 4, 6}));
  EXPECT_THROW(run(kGroup, {{"ids", ints({1, 2}, {0, 4})}}), UserError);
}

TEST(Experts, RefuseWhatHasNoMeaning) {
  auto refusal = [](const std::string& weight, const std::string& statement) {
    try {
      Module module = parse_module(str("module @m {\n param @w : ", weight,
                                       "\n func @f(%x: f32[rows, 8], %ids: i32[rows, 2], %p: i32[5]) {\n",
                                       statement, "\n return\n } }"));
      return verify(module);
    } catch (const UserError& e) {
      return std::string(e.what());
    }
  };
  auto says = [&](const std::string& weight, const std::string& statement, const std::string& part) {
    std::string text = refusal(weight, statement);
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  const std::string slots = "%0: f32[(rows * 2), 6] = expert_matmul(%x, @w, %ids)";
  EXPECT_EQ(refusal("f16[4, 6, 8]", slots), "");
  says("f16[6, 8]", slots, "is no stack of weight matrices");
  says("f16[4, 6, 9]", slots, "columns, expected 8");
  says("q4g32.f16.kn@packed[4, 6, 8]", slots, "is stored KN, experts are NK");
  says("f16[3, 6, 8]", "%0: f32[rows, 6] = expert_matmul(%x, @w, %p) {k = 2}", "is no i32[4]");
  says("f16[4, 6, 8]", "%0: f32[rows, 6] = expert_matmul(%x, @w, %p)", "attribute 'k' is missing");
  const std::string routes = "%0: i32[rows, 2], %1: f32[rows, 2] = route(%x) {k = 2, ";
  says("f16[4, 6, 8]", routes + "groups = 3, kept_groups = 1}", "8 experts do not stand in 3 equal groups");
  says("f16[4, 6, 8]", routes + "groups = 8, kept_groups = 1}", "1 groups of 1 experts have no 2 to choose");
  says("f16[4, 6, 8]", "%0: i32[rows, 9], %1: f32[rows, 9] = route(%x) {k = 9}", "expected 1 to 8");
}

}  // namespace
}  // namespace mlc::graph
