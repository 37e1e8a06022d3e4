// Tests of the meaning of the recurrences over slots on values worked out by hand.
#include <gtest/gtest.h>

#include <cmath>

#include "base/strings.h"
#include "base/user_error.h"
#include "graph/interpret.h"
#include "graph/parse.h"
#include "graph/verify.h"

namespace mlc::graph {
namespace {

using Floats = std::vector<float>;

HostTensor floats(std::vector<int64_t> shape, Floats values) {
  return {DType::kF32, std::move(shape), std::move(values), {}};
}
HostTensor ints(std::vector<int32_t> values) {
  return {DType::kI32, {static_cast<int64_t>(values.size())}, {}, std::move(values)};
}

class Recurrence : public ::testing::Test {
 protected:
  // `operands`: of the node, before row_indptr and slot_ids. The state has 3 slots, zeros.
  void define(const std::string& op, const std::string& operands, int64_t columns, int64_t elements,
              const std::string& weights) {
    const std::string x = str("f32[rows, ", columns, "]");
    module =
        parse_module(str("module @m {\n param @w : f32", weights, "\n param @u : f32", weights,
                         "\n state $s : slots {layers = 2, other = 1, it = ", elements, "}\n func @f(%x: ", x,
                         ", %v: ", x, ", %indptr: i32[(batch + 1)], %ids: i32[batch]) {\n %0: ", x, " = ", op,
                         "($s, ", operands, ", %indptr, %ids) {layer = 1, part = \"it\"}\n return %0\n}\n}"));
    states = make_states(module, 0, 3);
    size = elements + 1;
  }
  Floats run(const HostTensor& x, const HostTensor& v, std::vector<int32_t> row_indptr,
             std::vector<int32_t> slot_ids) {
    EXPECT_EQ(verify(module), "");
    return interpret(
               module, "f",
               {{"x", x},
                {"v", v},
                {"indptr", ints(std::move(row_indptr))},
                {"ids", ints(std::move(slot_ids))}},
               [&](const std::string& name) -> const HostTensor& { return parameters.at(name); }, states)[0]
        .floats;
  }
  // Element of the part in a slot of layer 1.
  float& at(int64_t slot, int64_t element) { return states["s"].values[(3 + slot) * size + 1 + element]; }

  Module module;
  std::map<std::string, HostTensor> parameters;
  std::map<std::string, HostState> states;
  int64_t size = 0;
};

TEST_F(Recurrence, TokenShiftGivesTheRowBefore) {
  define("token_shift", "%x", 1, 1, "[1]");
  const HostTensor x = floats({3, 1}, {1, 2, 3});
  at(2, 0) = 7;
  EXPECT_EQ(run(x, x, {0, 2, 3}, {1, 2}), (Floats{0, 1, 7}));
  EXPECT_EQ(at(1, 0), 2);
  EXPECT_EQ(at(2, 0), 3);
  EXPECT_EQ(run(x, x, {0, 3}, {1}), (Floats{2, 1, 2}));
}

TEST_F(Recurrence, Wkv4IsAnAverageOfValues) {
  define("wkv4", "%x, %v, @w, @u", 1, 3, "[1]");
  const float half = std::log(2.0f);  // exp(-exp(w)) = 1/2 at w = log(log 2)
  parameters = {{"w", floats({1}, {std::log(half)})}, {"u", floats({1}, {std::log(3.0f)})}};
  const HostTensor k = floats({3, 1}, {0, half, 0}), v = floats({3, 1}, {1, 2, 4});
  // Weights: bonus times e^k for the token itself; 1 for the one before, halved with each step.
  const Floats expected = {1, (1 + 6 * 2) / 7.0f, (0.5f + 2 * 2 + 3 * 4) / 5.5f};
  const Floats whole = run(k, v, {0, 3}, {1});
  for (size_t i = 0; i < 3; ++i) EXPECT_FLOAT_EQ(whole[i], expected[i]) << i;
  for (int i = 0; i < 3; ++i)  // one by one, the same bits
    EXPECT_EQ(run(floats({1, 1}, {k.floats[i]}), floats({1, 1}, {v.floats[i]}), {0, 1}, {2})[0], whole[i]);
}

TEST_F(Recurrence, Wkv4OfKeysBeyondFloats) {
  define("wkv4", "%x, %v, @w, @u", 1, 3, "[1]");
  parameters = {{"w", floats({1}, {-100})}, {"u", floats({1}, {0})}};
  for (float key : {-500.0f, 500.0f}) {
    states = make_states(module, 0, 3);
    const Floats y = run(floats({3, 1}, {key, key, key}), floats({3, 1}, {1, 2, 3}), {0, 3}, {1});
    EXPECT_EQ(y, (Floats{1, 1.5, 2})) << key;
  }
  states = make_states(module, 0, 3);
  EXPECT_TRUE(std::isnan(run(floats({1, 1}, {NAN}), floats({1, 1}, {1}), {0, 1}, {1})[0]));
}

TEST_F(Recurrence, Wkv5KeepsAMatrixOfEachHead) {
  define("wkv5", "%x, %x, %v, @w, @u", 2, 2, "[2, 1]");  // two heads of size 1
  parameters = {{"w", floats({2, 1}, {0.5f, 0.25f})}, {"u", floats({2, 1}, {3, 2})}};
  const HostTensor x = floats({2, 2}, {2, 1, 3, 5}), v = floats({2, 2}, {1, 10, 1, 10});
  // r (S + u k v): head 0: 2 * 3 * 2, then 3 * (2 + 3 * 3); head 1: 2 * 10, then 5 * (10 + 2 * 50)
  EXPECT_EQ(run(x, v, {0, 2}, {1}), (Floats{12, 20, 33, 550}));
  EXPECT_EQ(at(1, 0), 0.5f * 2 + 3);
  EXPECT_EQ(at(1, 1), 0.25f * 10 + 50);
  EXPECT_EQ(at(2, 0), 0);
}

TEST_F(Recurrence, RefusesWhatDoesNotFit) {
  auto refusal = [&](const std::string& op, const std::string& operands, int64_t elements,
                     const std::string& weights) {
    define(op, operands, 2, elements, weights);
    return verify(module);
  };
  EXPECT_NE(refusal("token_shift", "%x", 3, "[2]").find("part 'it' of $s has 3 elements, expected 2"),
            std::string::npos);
  EXPECT_NE(refusal("wkv4", "%x, %v, @w, @u", 2, "[2]").find("expected 6"), std::string::npos);
  EXPECT_NE(refusal("wkv4", "%x, %v, @w, @u", 6, "[3]").find("no float tensor of f32[2]"), std::string::npos);
  EXPECT_NE(refusal("wkv5", "%x, %x, %v, @w, @u", 2, "[3, 1]").find("into heads"), std::string::npos);
  define("token_shift", "%x", 2, 2, "[2]");
  const HostTensor x = floats({1, 2}, {1, 2});
  EXPECT_THROW(run(x, x, {0, 1}, {3}), UserError);
  EXPECT_THROW(run(x, x, {0, 2}, {1}), UserError);
}

TEST(CopySlots, CopiesEveryLayer) {
  Module module = parse_module(
      "module @m { state $s : slots {layers = 2, a = 1, b = 1} func @f(%from: i32[copies], %to: i32[copies]) "
      "{ "
      "copy_slots($s, %from, %to) return } }");
  std::map<std::string, HostState> states = make_states(module, 0, 3);
  states["s"].values = {1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16};
  auto none = [](const std::string&) -> const HostTensor& { throw std::runtime_error("no parameters"); };
  interpret(module, "f", {{"from", ints({0})}, {"to", ints({2})}}, none, states);
  EXPECT_EQ(states["s"].values, (Floats{1, 2, 3, 4, 1, 2, 11, 12, 13, 14, 11, 12}));
}

}  // namespace
}  // namespace mlc::graph
