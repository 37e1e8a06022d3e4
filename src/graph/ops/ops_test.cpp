// Tests of the ops' shape rules and reference meanings on values worked out by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

#include "graph/ops/math.h"
#include "graph/ops/registry.h"

namespace mlc::graph {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

HostTensor floats(std::vector<int64_t> shape, std::vector<float> values) {
  return {DType::kF32, shape, values, {}};
}
HostTensor ints(std::vector<int32_t> values) {
  return {DType::kI32, {static_cast<int64_t>(values.size())}, {}, values};
}

// Builds one node over arguments of given types, and runs it.
class OpTest : public ::testing::Test {
 protected:
  OpTest() {
    module.states.push_back(PagedState::of_heads("kv", 2, 2, 4, 16, DType::kF16));
    states["kv"] = {module.states[0], 6, std::vector<float>(2 * 6 * 2 * 2 * 16 * 4, kNaN)};
  }

  void make(const std::string& op, const std::vector<TensorType>& types, Attributes attributes = {}) {
    node = Node{op, {}, find_op(op)->has_state ? "kv" : "", std::move(attributes), {}, {}};
    for (const TensorType& t : types) node.inputs.push_back(value(t));
  }
  Value* value(const TensorType& type) {
    values.push_back(std::make_unique<Value>(Value{Value::Kind::kArgument, "v", type, nullptr}));
    return values.back().get();
  }

  std::vector<HostTensor> run(const std::vector<HostTensor>& in, const std::vector<HostTensor>& region = {}) {
    node.outputs.clear();
    for (const TensorType& t : infer_types(node, module)) node.outputs.push_back(value(t));
    std::vector<const HostTensor*> inputs, operands;
    for (const HostTensor& t : in) inputs.push_back(&t);
    for (const HostTensor& t : region) operands.push_back(&t);
    InterpretContext context{states};
    return find_op(node.op)->interpret(node, inputs, operands, context);
  }

  std::string refusal() {
    try {
      infer_types(node, module);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "";
  }

  static TensorType f32(Dim rows, Dim columns) { return TensorType::plain(DType::kF32, {rows, columns}); }
  static TensorType f32(Dim n) { return TensorType::plain(DType::kF32, {n}); }
  static TensorType i32s(Dim rows, Dim k) { return TensorType::plain(DType::kI32, {rows, k}); }
  static TensorType i32(Dim n) { return TensorType::plain(DType::kI32, {n}); }

  const Dim rows = Dim::symbol("rows");
  Module module;
  Node node;
  std::vector<std::unique_ptr<Value>> values;
  std::map<std::string, HostState> states;
};

using Floats = std::vector<float>;

TEST_F(OpTest, ElementwiseOps) {
  HostTensor a = floats({2, 2}, {1, -2, 3, kInfinity}), b = floats({2, 2}, {10, 20, kNaN, 1});
  make("map", {f32(rows, 2)});
  then(node.region, [&](RegionBuilder& r) { return r.x() + r.operand(value(f32(rows, 2))); });
  HostTensor sum = run({a}, {b})[0];
  EXPECT_EQ(Floats(sum.floats.begin(), sum.floats.begin() + 2), (Floats{11, 18}));
  EXPECT_TRUE(std::isnan(sum.floats[2]));
  EXPECT_EQ(sum.floats[3], kInfinity);
  make("map", {f32(rows, 2)});
  then(node.region, [&](RegionBuilder& r) { return r.x() * r.operand(value(f32(rows, 2))); });
  EXPECT_EQ(run({a}, {a})[0].floats, (Floats{1, 4, 9, kInfinity}));
  make("map", {f32(rows, 2)});
  then(node.region, [&](RegionBuilder& r) { return r.x() + r.operand(value(f32(2))); });
  EXPECT_EQ(run({a}, {floats({2}, {1, 2})})[0].floats, (Floats{2, 0, 4, kInfinity}));
  make("map", {f32(rows, 2)});
  then(node.region, [&](RegionBuilder& r) { return r.x() * r.operand(value(f32(rows, 1))); });
  EXPECT_EQ(run({a}, {floats({2, 1}, {2, 3})})[0].floats, (Floats{2, -4, 9, kInfinity}));
  make("map", {f32(rows, 2)});
  then(node.region, [&](RegionBuilder& r) { return r.clamp(r.x(), -1, 2) / r.constant(2); });
  EXPECT_EQ(run({a})[0].floats, (Floats{0.5, -0.5, 1, 1}));
  make("slice", {f32(rows, 2)}, {{"begin", int64_t{1}}, {"end", int64_t{2}}});
  EXPECT_EQ(run({a})[0].floats, (Floats{-2, kInfinity}));
  make("cast", {f32(rows, 2)}, {{"dtype", std::string("f16")}});
  EXPECT_EQ(run({floats({1, 2}, {2049, 1e9f})})[0].floats, (Floats{2048, kInfinity}));
}

TEST_F(OpTest, ActivationsKeepNaNAndExtremes) {
  struct Case {
    const char* function;
    Floats expected;  // of -2, 0, 2
  };
  for (const Case& c :
       {Case{"silu", {-0.23840584f, 0, 1.7615942f}}, Case{"gelu", {-0.04550027f, 0, 1.9544997f}},
        Case{"gelu_tanh", {-0.04540229f, 0, 1.9545977f}}, Case{"relu", {0, 0, 2}},
        Case{"quick_gelu", {-0.06434137f, 0, 1.9356586f}}}) {
    make("map", {f32(rows, 3)});
    then(node.region, [&](RegionBuilder& r) { return r.call(c.function, r.x()); });
    Floats got = run({floats({1, 3}, {-2, 0, 2})})[0].floats;
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(got[i], c.expected[i], 1e-6) << c.function;
    got = run({floats({1, 3}, {kNaN, -3e38f, 3e38f})})[0].floats;
    EXPECT_TRUE(std::isnan(got[0])) << c.function;
    EXPECT_EQ(got[1], 0) << c.function;
    EXPECT_EQ(got[2], 3e38f) << c.function;
  }
  make("map", {f32(rows, 4)});
  then(node.region, [&](RegionBuilder& r) { return r.call("sigmoid", r.x()); });
  Floats sigmoid = run({floats({1, 4}, {kNaN, -3e38f, 0, 3e38f})})[0].floats;
  EXPECT_TRUE(std::isnan(sigmoid[0]));
  EXPECT_EQ(Floats(sigmoid.begin() + 1, sigmoid.end()), (Floats{0, 0.5f, 1}));
  make("map", {f32(rows, 4)});
  then(node.region, [&](RegionBuilder& r) { return r.call("relu", r.gate()) * r.up(); });
  EXPECT_EQ(run({floats({2, 4}, {1, -1, 5, 6, 2, 3, 7, 8})})[0].floats, (Floats{5, 0, 14, 24}));
}

TEST_F(OpTest, MatmulAppliesEachStepInOrder) {
  make("matmul", {f32(rows, 3), f32(4, 3)});
  Value *bias = value(f32(4)), *wide = value(f32(rows, 4)), *narrow = value(f32(rows, 2));
  then(node.region, [&](RegionBuilder& r) { return (r.x() + r.operand(bias)) * r.operand(wide); });
  then(node.region, [&](RegionBuilder& r) { return r.call("relu", r.gate()) * r.up() + r.operand(narrow); });
  then(node.region, [&](RegionBuilder& r) { return r.call("relu", r.x()); });
  HostTensor x = floats({1, 3}, {1, 2, 3}), w = floats({4, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1});
  // x w' = 1 2 3 6; + bias = 2 2 2 2; * = 4 -4 6 8; gated = 24 0; + = 25 -7; relu = 25 0.
  HostTensor got =
      run({x, w}, {floats({4}, {1, 0, -1, -4}), floats({1, 4}, {2, -2, 3, 4}), floats({1, 2}, {1, -7})})[0];
  EXPECT_EQ(got.floats, (Floats{25, 0}));
  EXPECT_EQ(got.shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(
      run({floats({0, 3}, {}), w}, {floats({4}, {1, 0, -1, -4}), floats({0, 4}, {}), floats({0, 2}, {})})[0]
          .elements(),
      0);
  node.region.operands[2] = wide;
  EXPECT_EQ(refusal(),
            "region operand 2 (f32[rows, 4]) is no f32[rows, 2], f32[rows, 1] or float vector of 2 elements");
}

TEST_F(OpTest, QuantizeRoundsHalfToEvenPerGroup) {
  make("quantize_q8", {f32(rows, 35)});
  Floats x(2 * 35, 0.0f);
  x[0] = 127;  // scale 1
  x[1] = 2.5f;
  x[2] = -3.5f;
  x[31] = -127;
  x[33] = 0.25f;  // the short group's largest: scale 0.25 / 127
  x[35] = kNaN;   // row 1
  x[36] = 5;
  HostTensor q = run({floats({2, 35}, x)})[0];
  EXPECT_EQ(q.ints.size(), 70u);
  EXPECT_EQ(q.floats.size(), 4u);
  EXPECT_EQ(q.floats[0], 1.0f);
  EXPECT_EQ(q.ints[0], 127);
  EXPECT_EQ(q.ints[1], 2);
  EXPECT_EQ(q.ints[2], -4);
  EXPECT_EQ(q.ints[31], -127);
  EXPECT_EQ(q.floats[1], 0.25f / 127.0f);
  EXPECT_EQ(q.ints[33], 127);
  EXPECT_TRUE(std::isnan(q.floats[2]));
  EXPECT_EQ(q.ints[36], 0);
  EXPECT_EQ(q.floats[3], 0);  // a group of zeros
  std::vector<double> back = dequantize_q8(q);
  EXPECT_EQ(back[1], 2);
  EXPECT_TRUE(std::isnan(back[36]));
  EXPECT_EQ(back[69], 0);
}

TEST_F(OpTest, MatmulReadsCodesAsCodeTimesScale) {
  make("matmul", {TensorType::q8({rows, 35}), f32(1, 35)});
  Floats x(35, 1.0f), w(35, 1.0f);
  x[0] = 3;
  x[34] = 0.1f;
  HostTensor codes = quantize_q8(floats({1, 35}, x));
  double expected = 0;
  for (double v : dequantize_q8(codes)) expected += v;
  EXPECT_FLOAT_EQ(run({codes, floats({1, 35}, w)})[0].floats[0], static_cast<float>(expected));
  EXPECT_NEAR(expected, 36.1, 0.3);
}

TEST_F(OpTest, MatmulWants3BitWeightsToMeetCodesInGroupsOf40) {
  const TensorType weight{TensorType::Kind::kGroup, *WeightFormat::parse("q3g40.f16"), "packed", {2, 45}};
  make("quantize_q8", {f32(rows, 45)}, {{"output", std::string("q8g40")}});
  Floats x(45, 1.0f), w(90, 2.0f);
  x[40] = 0.5f;  // alone with its scale in the second group: exact
  HostTensor codes = run({floats({1, 45}, x)})[0];
  EXPECT_EQ(codes.floats.size(), 2u);
  make("matmul", {TensorType::q8({rows, 45}, weight.format), weight});
  EXPECT_NEAR(run({codes, floats({2, 45}, w)})[0].floats[1], 89, 0.01);
  make("matmul", {TensorType::q8({rows, 45}), weight});
  EXPECT_EQ(refusal(), "operand 1 (q3g40.f16@packed[2, 45]) meets q8g32, expected q8g40");
  make("quantize_q8", {f32(rows, 45)}, {{"output", std::string("q8g24")}});
  EXPECT_EQ(refusal(), "attribute 'output' is 'q8g24', expected q8g16, q8g32 or q8g40");
}

TEST_F(OpTest, NormsFollowTheirFormulas) {
  make("rms_norm", {f32(rows, 2), f32(2)}, {{"eps", 1.0}});
  // mean square (9 + 1) / 2 = 5, + 1 = 6
  Floats got = run({floats({1, 2}, {3, -1}), floats({2}, {2, 1})})[0].floats;
  EXPECT_FLOAT_EQ(got[0], static_cast<float>(6 / std::sqrt(6.0)));
  EXPECT_FLOAT_EQ(got[1], static_cast<float>(-1 / std::sqrt(6.0)));
  make("rms_norm", {f32(rows, 4), f32(2)}, {{"eps", 1.0}});  // two heads
  got = run({floats({1, 4}, {3, -1, 0, 2}), floats({2}, {2, 1})})[0].floats;
  EXPECT_FLOAT_EQ(got[1], static_cast<float>(-1 / std::sqrt(6.0)));
  EXPECT_FLOAT_EQ(got[3], static_cast<float>(2 / std::sqrt(3.0)));  // mean square 2, + 1
  make("rms_norm", {f32(rows, 64), f32(32)}, {{"eps", 1.0}, {"output", std::string("q8g32")}});
  EXPECT_EQ(refusal(), "heads that are normed by themselves give f32, not q8g32");
  make("rms_norm", {f32(rows, 5), f32(2)}, {{"eps", 1.0}});
  EXPECT_NE(refusal(), "");
  make("layer_norm", {f32(rows, 2), f32(2), f32(2)}, {{"eps", 5.0}});
  // mean 1, variance 4, + 5 = 9: deviations +-2 / 3
  got = run({floats({1, 2}, {3, -1}), floats({2}, {3, 1}), floats({2}, {10, 20})})[0].floats;
  EXPECT_FLOAT_EQ(got[0], 12);
  EXPECT_FLOAT_EQ(got[1], static_cast<float>(20 - 2 / 3.0));
  make("layer_norm", {f32(rows, 2), f32(2)}, {{"eps", 5.0}, {"output", std::string("q8g32")}});
  HostTensor codes = run({floats({1, 2}, {3, -1}), floats({2}, {3, 1})})[0];
  EXPECT_EQ(codes.ints, (std::vector<int32_t>{127, -42}));  // 2 and -2/3: -42.33
}

TEST_F(OpTest, AMatmulNormsItsRowsFirst) {
  const HostTensor x = floats({2, 3}, {1, 2, 6, -4, 0, 1}), weight = floats({3}, {1, 2, -1}),
                   bias = floats({3}, {0, 1, 0}), w = floats({2, 3}, {1, 0, 2, -1, 3, 1});
  for (const std::string norm : {"rms_norm", "layer_norm"}) {
    std::vector<TensorType> of_norm = {f32(3)};
    std::vector<HostTensor> values = {weight};
    if (norm == "layer_norm") of_norm.push_back(f32(3)), values.push_back(bias);
    auto with = [](auto first, const auto& rest) {
      first.insert(first.end(), rest.begin(), rest.end());
      return first;
    };
    make(norm, with(std::vector{f32(rows, 3)}, of_norm), {{"eps", 0.5}});
    const HostTensor between = run(with(std::vector{x}, values))[0];
    make("matmul", {f32(rows, 3), f32(2, 3)});
    const Floats expected = run({between, w})[0].floats;
    make("matmul", with(std::vector{f32(rows, 3), f32(2, 3)}, of_norm), {{"eps", 0.5}, {"norm", norm}});
    EXPECT_EQ(run(with(std::vector{x, w}, values))[0].floats, expected) << norm;
    make("expert_matmul",
         with(std::vector{f32(rows, 3), TensorType::plain(DType::kF32, {1, 2, 3}), i32s(rows, 1)}, of_norm),
         {{"eps", 0.5}, {"norm", norm}});
    const HostTensor stack = floats({1, 2, 3}, w.floats), ids = {DType::kI32, {2, 1}, {}, {0, 0}};
    EXPECT_EQ(run(with(std::vector{x, stack, ids}, values))[0].floats, expected) << norm;
  }
}

TEST(Alibi, SlopesArePowersOfTwoAndWhatLiesBetween) {
  for (int64_t head = 0; head < 8; ++head)
    EXPECT_EQ(alibi_slope(head, 8, 8), std::ldexp(1.0, -int(head) - 1));
  const double six[] = {1.0 / 4, 1.0 / 16, 1.0 / 64, 1.0 / 256, 1.0 / 2, 1.0 / 8};
  for (int64_t head = 0; head < 6; ++head) EXPECT_EQ(alibi_slope(head, 6, 8), six[head]);
}

TEST_F(OpTest, RopeTurnsPairsOfTheRotatedPart) {
  // A quarter turn of the first pair, none of the second; head_dim 6 of which 4 rotate; two heads.
  HostTensor factors = floats({1, 4}, {0, 1, 1, 0}),
             x = floats({1, 12}, {1, 2, 3, 4, 5, 6, -1, -2, -3, -4, -5, -6});
  Attributes attributes = {{"head_dim", int64_t{6}}, {"rotary_dim", int64_t{4}}};
  make("rope", {f32(rows, 12), f32(rows, 4)}, attributes);
  EXPECT_EQ(run({x, factors})[0].floats, (Floats{-3, 2, 1, 4, 5, 6, 3, -2, -1, -4, -5, -6}));
  attributes["interleaved"] = true;
  make("rope", {f32(rows, 12), f32(rows, 4)}, attributes);
  EXPECT_EQ(run({x, factors})[0].floats, (Floats{-2, 1, 3, 4, 5, 6, 2, -1, -3, -4, -5, -6}));
}

TEST_F(OpTest, RowsAreSampledByTheirOwnSettings) {
  const float x = std::log(3.0f);
  const HostTensor settings = floats({3, 3}, {1, 1, 0.5f, 0, 0, 0.5f, 2, 0.95f, 0.99f});
  make("softmax", {f32(rows, 2), f32(rows, 3)});
  HostTensor p = run({floats({3, 2}, {0, x, 0, x, 0, x}), settings})[0];
  EXPECT_NEAR(p.floats[0], 0.25, 1e-6);
  EXPECT_EQ(p.floats[3], 1);
  EXPECT_NEAR(p.floats[4], 0.1, 1e-6);
  make("sample", {f32(rows, 2), f32(rows, 3)});
  EXPECT_EQ(run({p, settings})[0].ints, (std::vector<int32_t>{1, 1, 0}));
}

TEST_F(OpTest, TakeChecksItsIndices) {
  make("take", {f32(3, 2), i32(rows)});
  HostTensor table = floats({3, 2}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(run({table, ints({2, 0, 2})})[0].floats, (Floats{5, 6, 1, 2, 5, 6}));
  EXPECT_EQ(run({table, ints({})})[0].elements(), 0);
  EXPECT_THROW(run({table, ints({3})}), std::invalid_argument);
  EXPECT_THROW(run({table, ints({-1})}), std::invalid_argument);
}

TEST_F(OpTest, AppendRoundsToTheCacheAndCopyPagesCopiesEveryLayer) {
  Floats k(8), v(8);
  for (int i = 0; i < 8; ++i) {
    k[i] = 2049.0f + 2 * static_cast<float>(i);  // odd above 2048: ties in f16
    v[i] = static_cast<float>(-i);
  }
  make("kv_append", {f32(rows, 8), f32(rows, 8), i32(rows)}, {{"layer", int64_t{1}}});
  run({floats({1, 8}, k), floats({1, 8}, v), ints({3 * 16 + 5})});
  const HostState& kv = states["kv"];
  int64_t page = (1 * 6 + 3) * kv.cache.page_elements();
  EXPECT_EQ(kv.values[page + 0 * 64 + 5 * 4], 2048);      // K, head 0, offset 5
  EXPECT_EQ(kv.values[page + 1 * 64 + 5 * 4 + 1], 2060);  // K, head 1: 2059 is a tie, to even
  EXPECT_EQ(kv.values[page + 128 + 64 + 5 * 4 + 3], -7);  // V, head 1
  EXPECT_TRUE(std::isnan(kv.values[page + 6 * 4]));       // nothing beside it
  make("copy_pages", {i32(rows), i32(rows)});
  run({ints({3}), ints({0})});
  EXPECT_EQ(kv.values[1 * 6 * kv.cache.page_elements() + 1 * 64 + 5 * 4 + 1], 2060);
  EXPECT_TRUE(std::isnan(kv.values[5 * 4]));  // layer 0 of page 3 was never written
  EXPECT_THROW(run({ints({3}), ints({6})}), std::invalid_argument);
}

TEST_F(OpTest, RefusalsSayWhatIsWrong) {
  make("map", {f32(rows, 3)});
  then(node.region, [&](RegionBuilder& r) { return r.gate() * r.up(); });
  EXPECT_EQ(refusal(), "region gates an odd number of columns: 3");
  make("slice", {f32(rows, 2), f32(rows, 2)});
  EXPECT_EQ(refusal(), "2 operands, expected 1");
  make("slice", {f32(rows, 2)}, {{"begin", int64_t{0}}, {"end", int64_t{1}}});
  then(node.region, [&](RegionBuilder& r) { return r.x() * r.x(); });
  EXPECT_EQ(refusal(), "takes no region");
  const Attributes scaled = {{"layer", int64_t{0}}, {"heads", int64_t{2}}, {"scale", 1.0}};
  const std::vector<TensorType> attended = {f32(rows, 8), i32(rows), i32(rows), i32(Dim::symbol("batch") + 1),
                                            i32(Dim::symbol("pages"))};
  make("attention", attended, scaled);
  then(node.region, [&](RegionBuilder& r) { return r.x() + r.bias(); });
  EXPECT_EQ(refusal(), "region reads a bias, but the op has none");
  make("attention", attended, scaled);
  node.attributes["alibi"] = 8.0;
  EXPECT_EQ(refusal(), "region leaves out the bias");
  make("matmul", {f32(rows, 2), f32(4, 3)});
  EXPECT_EQ(refusal(), "operand 1 (f32[4, 3]) has 3 columns, expected 2");
  make("matmul", {f32(rows, 3), f32(4, 3), f32(3)});
  EXPECT_EQ(refusal(), "3 operands, expected 2 without a norm");
  make("matmul", {f32(rows, 3), f32(4, 3), f32(3)}, {{"norm", std::string("norm")}});
  EXPECT_EQ(refusal(), "attribute 'norm' is 'norm', expected rms_norm or layer_norm");
  make("matmul", {f32(rows, 3), f32(4, 3), f32(3), f32(3)}, {{"norm", std::string("rms_norm")}});
  EXPECT_EQ(refusal(), "2 operands of rms_norm, expected 1");
  make("matmul", {f32(rows, 3), f32(4, 3), f32(4)}, {{"norm", std::string("rms_norm")}});
  EXPECT_EQ(refusal(), "operand 2 (f32[4]) is no float vector of 3 elements");
  make("matmul", {f32(rows, 3), f32(4, 3), f32(3)}, {{"norm", std::string("rms_norm")}});
  EXPECT_EQ(refusal(), "attribute 'eps' is missing");
  make("map", {f32(rows, 2)});
  then(node.region, [&](RegionBuilder& r) { return r.call("sliu", r.x()); });
  EXPECT_EQ(refusal(),
            "unknown function 'sliu', expected one of exp, gelu, gelu_tanh, quick_gelu, relu, relu2, "
            "sigmoid, silu, "
            "tanh; did you mean 'silu'?");
  make("rms_norm", {f32(rows, 2), f32(2)});
  EXPECT_EQ(refusal(), "attribute 'eps' is missing");
  make("rms_norm", {f32(rows, 2), f32(2)}, {{"eps", int64_t{1}}});
  EXPECT_EQ(refusal(), "attribute 'eps' is no real number");
  make("slice", {f32(rows, 2)}, {{"begin", int64_t{1}}, {"end", int64_t{3}}});
  EXPECT_EQ(refusal(), "attribute 'end' is 3, expected 2 to 2");
  make("kv_append", {f32(rows, 8), f32(rows, 8), i32(rows)}, {{"layer", int64_t{2}}});
  EXPECT_EQ(refusal(), "attribute 'layer' is 2, expected 0 to 1");
  make("sample", {f32(rows, 8), f32(rows, 2)});
  EXPECT_EQ(refusal(), "operand 1 (f32[rows, 2]) does not have 3 columns");
  make("map", {f32(rows, 2)});
  node.state = "kv";
  EXPECT_EQ(refusal(), "takes no state, but names $kv");
  node.op = "matmull";
  EXPECT_EQ(refusal(), "unknown op 'matmull'; did you mean 'matmul'?");
}

TEST(OpTable, EveryOpIsComplete) {
  EXPECT_FALSE(op_names().empty());
  EXPECT_EQ(find_op("nonsense"), nullptr);
  for (const std::string& name : op_names()) {
    const OpInfo* op = find_op(name);
    EXPECT_EQ(op->name, name);
    EXPECT_TRUE(op->infer && op->interpret) << name;
    EXPECT_GE(op->max_inputs, op->min_inputs) << name;
    EXPECT_TRUE(op->has_state || !op->writes_state) << name;
  }
}

}  // namespace
}  // namespace mlc::graph
