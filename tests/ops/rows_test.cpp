// Ops on rows: norms, elementwise ops, rope, slice, cast, quantize_q8, against the graph's meaning.
#include <limits>

#include "ops/tolerance.h"
#include "support/op_case.h"
#include "support/toy_graph.h"

namespace mlc::testing {
namespace {

const Dim kRows = Dim::symbol("rows");

void near(OpCase& c, double tolerance) {
  c.run([&](float e, float a, int64_t i, const std::string&) {
    if (std::isnan(e)) ASSERT_TRUE(std::isnan(a)) << "element " << i << ": " << a;
    else if (std::isinf(e)) ASSERT_EQ(e, a) << "element " << i;
    else ASSERT_NEAR(e, a, tolerance * std::max(1.0f, std::fabs(e))) << "element " << i;
  });
}

TEST(Norm, Rms) {
  for (int64_t n : {1, 15, 64, 200})
    for (int64_t rows : {1, 3}) {
      std::mt19937 random(1);
      OpCase c({{"rows", rows}});
      graph::Value* x = c.matrix(kRows, n, random_floats(rows * n, 3, random), n + 2, 1);
      c.g->rms_norm(x, c.parameter(DType::kF16, {n}, random_floats(n, 1, random)), 1e-5);
      near(c, norm_error(n, 2 * std::sqrt(double(n))));
    }
}

// The codes may differ by one where the f32 results, a rounding apart, lie on both sides of a tie.
TEST(Norm, Quantized) {
  for (std::string op : {"rms_norm", "layer_norm"})
    for (int64_t n : {7, 32, 100}) {
      std::mt19937 random(9);
      OpCase c({{"rows", 3}});
      graph::Value* x = c.matrix(kRows, n, random_floats(3 * n, 3, random));
      c.g->op(op, {x, c.parameter(DType::kF32, {n}, random_floats(n, 1, random))}, {{"eps", 1e-5}, {"output", std::string("q8g32")}});
      c.codes_may_differ = 1;
      near(c, norm_error(n, 2 * std::sqrt(double(n))));
    }
}

TEST(Norm, Layer) {
  for (int64_t n : {2, 17, 64}) {
    std::mt19937 random(2);
    OpCase c({{"rows", 3}});
    graph::Value* x = c.matrix(kRows, n, random_floats(3 * n, 3, random));
    graph::Value* weight = c.parameter(DType::kF32, {n}, random_floats(n, 1, random));
    c.g->layer_norm(x, weight, c.parameter(DType::kBF16, {n}, random_floats(n, 1, random)), 1e-5);
    near(c, 4 * norm_error(n, 2 * std::sqrt(double(n))));  // the mean cancels: twice the roundings, twice the magnitude
  }
}

const std::vector<float> kHard = {0.0f, -0.0f, 1e-30f, -1e-30f, 88.0f, -88.0f, 1e4f, -1e4f, 3e38f, -3e38f, 0.5f, -0.5f,
                                  6.0f, -6.0f, NAN, std::numeric_limits<float>::infinity(), 2.5f};

TEST(Elementwise, Binary) {
  for (std::string op : {"add", "mul"})
    for (int64_t n : {1, 17, 64}) {
      std::mt19937 random(4);
      OpCase c({{"rows", 2}});
      graph::Value* x = c.matrix(kRows, n, random_floats(2 * n, 3, random), n + 7, 2);
      c.g->op(op, {x, c.matrix(kRows, n, random_floats(2 * n, 3, random))});
      c.run([](float e, float a, int64_t, const std::string&) { ASSERT_EQ(e, a); });
    }
}

TEST(Elementwise, ActivationsAtHardValues) {
  for (std::string f : {"silu", "gelu", "gelu_tanh", "relu"}) {
    SCOPED_TRACE(f);
    OpCase c({{"rows", 1}});
    c.g->activation(c.matrix(kRows, static_cast<int64_t>(kHard.size()), kHard), f);
    near(c, elementwise_error(1));
  }
}

TEST(Elementwise, GatedSliceBiasCast) {
  std::mt19937 random(5);
  {
    OpCase c({{"rows", 3}});
    c.g->gated(c.matrix(kRows, 38, random_floats(3 * 38, 3, random)), "silu");
    near(c, elementwise_error(3));
  }
  {
    OpCase c({{"rows", 3}});
    c.g->slice(c.matrix(kRows, 38, random_floats(3 * 38, 3, random)), 5, 30);
    near(c, 0);
  }
  {
    OpCase c({{"rows", 3}});
    graph::Value* x = c.matrix(kRows, 19, random_floats(3 * 19, 3, random));
    c.g->bias(x, c.parameter(DType::kF16, {19}, random_floats(19, 1, random)));
    near(c, 0);
  }
  for (std::string dtype : {"f16", "bf16", "f32"}) {
    OpCase c({{"rows", 3}});
    c.g->op("cast", {c.matrix(kRows, 19, random_floats(3 * 19, 3, random))}, {{"dtype", dtype}});
    near(c, 0);
  }
}

TEST(Rope, Rotates) {
  for (bool interleaved : {false, true})
    for (int64_t rotary : {6, 16, 20}) {
      std::mt19937 random(6);
      OpCase c({{"rows", 3}});
      graph::Value* x = c.matrix(kRows, 60, random_floats(3 * 60, 2, random), 64, 4);
      c.g->rope(x, c.matrix(kRows, rotary, random_floats(3 * rotary, 1, random)), 20, rotary, interleaved);
      near(c, elementwise_error(4));
    }
}

TEST(QuantizeQ8, EqualsTheRule) {
  for (int64_t n : {1, 31, 32, 64, 100}) {
    std::mt19937 random(8);
    OpCase c({{"rows", 4}});
    std::vector<float> x = random_floats(4 * n, 5, random);
    for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(n + i)] = 0;                       // a row of zeros
    for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(2 * n + i)] = i % 2 ? 127.0f : -127.0f;
    x[static_cast<size_t>(3 * n)] = n == 64 ? NAN : std::numeric_limits<float>::infinity();
    c.g->op("quantize_q8", {c.matrix(kRows, n, x)});
    c.run([](float e, float a, int64_t i, const std::string&) {
      if (std::isnan(e)) ASSERT_TRUE(std::isnan(a)) << i;
      else ASSERT_EQ(e, a) << i;
    });
  }
}

}  // namespace
}  // namespace mlc::testing
