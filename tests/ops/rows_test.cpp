// Ops on rows: norms, elementwise ops, rope, slice, cast, quantize_q8, against the graph's meaning.
#include <limits>

#include "ops/tolerance.h"
#include "support/op_batch.h"
#include "support/toy_graph.h"

namespace mlc::testing {
namespace {

const Dim kRows = Dim::symbol("rows");

// Near relative to the magnitude; NaN and infinities where the meaning has them.
Rule near(double tolerance) { return {.tolerance = tolerance, .relative = true, .hard = true}; }

using Norm = OpTest;
using Elementwise = OpTest;
using Rope = OpTest;
using QuantizeQ8 = OpTest;
using ToTiles = OpTest;

TEST_F(Norm, Rms) {
  for (int64_t n : {1, 15, 64, 200})
    for (int64_t rows : {1, 3}) {
      std::mt19937 random(1);
      OpCase& c = batch.add(str("rms_norm of ", rows, " x ", n), {{"rows", rows}});
      graph::Value* x = c.matrix(kRows, n, random_floats(rows * n, 3, random), n + 2, 1);
      c.g->rms_norm(x, c.parameter(DType::kF16, {n}, random_floats(n, 1, random)), 1e-5);
      c.rule = near(norm_error(n, 2 * std::sqrt(double(n))));
    }
}

// Heads in a part of wider rows, as queries beside keys.
TEST_F(Norm, Heads) {
  for (std::string op : {"rms_norm", "layer_norm"})
    for (int64_t n : {2, 15, 64})
      for (int64_t rows : {1, 3}) {
        std::mt19937 random(5);
        OpCase& c = batch.add(str(op, " of ", rows, " x 3 heads of ", n), {{"rows", rows}});
        graph::Value* x = c.matrix(kRows, 3 * n, random_floats(rows * 3 * n, 3, random), 4 * n + 1, n);
        c.g->op(op, {x, c.parameter(DType::kF32, {n}, random_floats(n, 1, random))}, {{"eps", 1e-5}});
        c.rule = near(4 * norm_error(n, 2 * std::sqrt(double(n))));
      }
}

// The codes may differ by one where the f32 results, a rounding apart, lie on both sides of a tie.
TEST_F(Norm, Quantized) {
  for (auto [op, codes] : {std::pair("rms_norm", "q8g32"), {"layer_norm", "q8g32"}, {"rms_norm", "q8g40"}})
    for (int64_t n : {7, 32, 100}) {
      std::mt19937 random(9);
      OpCase& c = batch.add(str(op, " to ", codes, " of ", n), {{"rows", 3}});
      graph::Value* x = c.matrix(kRows, n, random_floats(3 * n, 3, random));
      c.g->op(op, {x, c.parameter(DType::kF32, {n}, random_floats(n, 1, random))},
              {{"eps", 1e-5}, {"output", std::string(codes)}});
      c.rule = near(norm_error(n, 2 * std::sqrt(double(n))));
      c.rule.codes = 1;
    }
}

TEST_F(Norm, Layer) {
  for (int64_t n : {2, 17, 64}) {
    std::mt19937 random(2);
    OpCase& c = batch.add(str("layer_norm of ", n), {{"rows", 3}});
    graph::Value* x = c.matrix(kRows, n, random_floats(3 * n, 3, random));
    graph::Value* weight = c.parameter(DType::kF32, {n}, random_floats(n, 1, random));
    c.g->layer_norm(x, weight, c.parameter(DType::kBF16, {n}, random_floats(n, 1, random)), 1e-5);
    // The mean cancels: twice the roundings, twice the magnitude.
    c.rule = near(4 * norm_error(n, 2 * std::sqrt(double(n))));
  }
}

const std::vector<float> kHard = {
    0.0f,  -0.0f,  1e-30f, -1e-30f, 88.0f, -88.0f, 1e4f, -1e4f,
    3e38f, -3e38f, 0.5f,   -0.5f,   6.0f,  -6.0f,  NAN,  std::numeric_limits<float>::infinity(),
    2.5f};

TEST_F(Elementwise, Binary) {
  for (std::string op : {"add", "mul"})
    for (int64_t n : {1, 17, 64}) {
      std::mt19937 random(4);
      OpCase& c = batch.add(str(op, " of ", n), {{"rows", 2}});
      graph::Value* x = c.matrix(kRows, n, random_floats(2 * n, 3, random), n + 7, 2);
      graph::Value* y = c.matrix(kRows, n, random_floats(2 * n, 3, random), n + 4, 1);
      op == "add" ? c.g->add(x, y) : c.g->mul(x, y);
    }
}

TEST_F(Elementwise, ActivationsAtHardValues) {
  for (std::string f : {"silu", "gelu", "gelu_tanh", "relu", "sigmoid"}) {
    OpCase& c = batch.add(f, {{"rows", 1}});
    c.g->activation(c.matrix(kRows, static_cast<int64_t>(kHard.size()), kHard), f);
    c.rule = near(elementwise_error(1));
  }
}

TEST_F(Elementwise, GatedSliceBiasCast) {
  std::mt19937 random(5);
  auto wide = [&](OpCase& c, int64_t n) { return c.matrix(kRows, n, random_floats(3 * n, 3, random)); };
  OpCase& gated = batch.add("gated", {{"rows", 3}});
  gated.g->gated(wide(gated, 38), "silu");
  gated.rule = near(elementwise_error(3));
  OpCase& slice = batch.add("slice", {{"rows", 3}});
  slice.g->slice(wide(slice, 38), 5, 30);
  OpCase& scale = batch.add("scale", {{"rows", 3}});
  scale.g->scale(wide(scale, 19), 1.5);
  OpCase& bias = batch.add("bias", {{"rows", 3}});
  graph::Value* x = wide(bias, 19);
  bias.g->bias(x, bias.parameter(DType::kF16, {19}, random_floats(19, 1, random)));
  for (std::string dtype : {"f16", "bf16", "f32"}) {
    OpCase& cast = batch.add(str("cast to ", dtype), {{"rows", 3}});
    cast.g->op("cast", {wide(cast, 19)}, {{"dtype", dtype}});
  }
}

TEST_F(Rope, Rotates) {
  for (bool interleaved : {false, true})
    for (int64_t rotary : {6, 16, 20}) {
      std::mt19937 random(6);
      OpCase& c = batch.add(str("rope of ", rotary, interleaved ? " interleaved" : ""), {{"rows", 3}});
      graph::Value* x = c.matrix(kRows, 60, random_floats(3 * 60, 2, random), 64, 4);
      c.g->rope(x, c.matrix(kRows, rotary, random_floats(3 * rotary, 1, random)), 20, rotary, interleaved);
      c.rule = near(elementwise_error(4));
    }
}

// Rounded to bf16, which has 8 bits; 18 rows need a second tile.
TEST_F(Norm, ToTiles) {
  for (std::string op : {"rms_norm", "layer_norm"})
    for (int64_t n : {7, 32, 100}) {
      std::mt19937 random(10);
      OpCase& c = batch.add(str(op, " to tiles of ", n), {{"rows", 18}});
      graph::Value* x = c.matrix(kRows, n, random_floats(18 * n, 3, random));
      c.g->op(op, {x, c.parameter(DType::kF32, {n}, random_floats(n, 1, random))},
              {{"eps", 1e-5}, {"output", std::string("tiles")}});
      c.rule = near(norm_error(n, 2 * std::sqrt(double(n))) + 2 * rounding(DType::kBF16));
    }
}

TEST_F(ToTiles, EqualsTheRule) {
  for (int64_t n : {1, 31, 32, 64, 100}) {
    std::mt19937 random(11);
    OpCase& c = batch.add(str("to_tiles of ", n), {{"rows", 35}});
    std::vector<float> x = random_floats(35 * n, 5, random);
    x[0] = NAN, x.back() = -0.0f;
    c.g->op("to_tiles", {c.matrix(kRows, n, x)});
    c.rule.hard = true;
  }
}

TEST_F(QuantizeQ8, EqualsTheRule) {
  for (std::string codes : {"q8g32", "q8g40"})
    for (int64_t n : {1, 31, 32, 40, 64, 100}) {
      std::mt19937 random(8);
      OpCase& c = batch.add(str("quantize_q8 of ", n, " to ", codes), {{"rows", 4}});
      std::vector<float> x = random_floats(4 * n, 5, random);
      for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(n + i)] = 0;  // a row of zeros
      for (int64_t i = 0; i < n; ++i) x[static_cast<size_t>(2 * n + i)] = i % 2 ? 127.0f : -127.0f;
      x[static_cast<size_t>(3 * n)] = n == 64 ? NAN : std::numeric_limits<float>::infinity();
      c.g->op("quantize_q8", {c.matrix(kRows, n, x)}, {{"output", codes}});
      c.rule.hard = true;
    }
}

}  // namespace
}  // namespace mlc::testing
