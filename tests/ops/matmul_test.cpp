// matmul and take over every weight format and layout, against the graph's meaning.
#include "ops/tolerance.h"
#include "support/op_case.h"
#include "support/toy_graph.h"

namespace mlc::testing {
namespace {

using Kind = graph::EpilogueStep::Kind;

struct Shape {
  int64_t rows, n, k;
};

struct Weight {
  WeightFormat format;
  std::string layout = "packed";
};

WeightFormat group(int bits, DType scale, bool transposed = false) {
  return {WeightFormat::Kind::kGroup, scale, bits, bits == 3 ? 40 : 32, transposed};
}

graph::Value* add_weight(OpCase& c, const Weight& w, int64_t n, int64_t k, std::mt19937& random) {
  std::vector<float> values = random_floats(n * k, 1.0f, random);
  if (n > 2) std::fill_n(values.begin() + k, std::min<int64_t>(k, 32), 0.0f);  // a group of zeros
  if (w.format.is_quantized()) return c.quantized(w.format, w.layout, n, k, values);
  return c.parameter(w.format.dtype, {n, k}, values);
}

// Largest sum of |x * w| of any result.
double absolute_sum(const graph::HostTensor& x, const graph::HostTensor& w) {
  double most = 0;
  for (int64_t r = 0; r < x.shape[0]; ++r)
    for (int64_t n = 0; n < w.shape[0]; ++n) {
      double sum = 0;
      for (int64_t i = 0; i < x.shape[1]; ++i)
        sum += std::fabs(double(x.floats[r * x.shape[1] + i]) * w.floats[n * x.shape[1] + i]);
      most = std::max(most, sum);
    }
  return most;
}

// Steps of the epilogue by letter: b bias, s silu, g gelu, t gelu_tanh, r relu, m multiply, a add, G gated silu.
void add_epilogue(OpCase& c, graph::Node& node, const std::string& steps, const Shape& s, std::mt19937& random) {
  int64_t columns = s.n;
  for (char step : steps) {
    if (step == 'G') columns /= 2;
    auto operand = [&] { return c.matrix(Dim::symbol("rows"), columns, random_floats(s.rows * columns, 1, random)); };
    switch (step) {
      case 'b': node.epilogue.push_back({Kind::kBias, c.parameter(DType::kF16, {columns}, random_floats(columns, 1, random)), ""}); break;
      case 's': node.epilogue.push_back({Kind::kActivation, nullptr, "silu"}); break;
      case 'g': node.epilogue.push_back({Kind::kActivation, nullptr, "gelu"}); break;
      case 't': node.epilogue.push_back({Kind::kActivation, nullptr, "gelu_tanh"}); break;
      case 'r': node.epilogue.push_back({Kind::kActivation, nullptr, "relu"}); break;
      case 'm': node.epilogue.push_back({Kind::kMul, operand(), ""}); break;
      case 'a': node.epilogue.push_back({Kind::kAdd, operand(), ""}); break;
      default: node.epilogue.push_back({Kind::kGated, nullptr, "silu"}); break;
    }
  }
  node.outputs[0]->type.shape[1] = columns;
}

void check_matmul(const Weight& w, const Shape& s, const std::string& epilogue = "", bool q8 = false) {
  SCOPED_TRACE(w.format.text() + "@" + w.layout + " rows " + std::to_string(s.rows) + " n " + std::to_string(s.n) + " k " +
               std::to_string(s.k) + " " + epilogue);
  std::mt19937 random(static_cast<unsigned>(s.rows * 31 + s.n * 7 + s.k));
  OpCase c({{"rows", s.rows}});
  std::vector<float> values = random_floats(s.rows * s.k, 2.0f, random);
  graph::Value* x = c.matrix(Dim::symbol("rows"), s.k, values, q8 ? 0 : s.k + 5, q8 ? 0 : 3);
  if (q8) {
    if (s.k > 64) std::fill_n(c.module.functions[0]->arguments.size() ? values.begin() : values.begin(), 32, 0.0f);
    x = c.g->op("quantize_q8", {x})[0];
    c.evaluate_last();
  }
  graph::Value* weight = add_weight(c, w, s.n, s.k, random);
  c.g->matmul(x, weight);
  graph::Node& node = *c.module.functions[0]->nodes.back();
  add_epilogue(c, node, epilogue, s, random);
  if (s.rows == 1) c.options.min_rows = c.options.max_rows = 1;
  graph::HostTensor dense = c.logical(x);
  if (q8)
    for (size_t i = 0, groups = dense.floats.size() / static_cast<size_t>(s.rows); i < dense.ints.size(); ++i) {
      if (i == 0) dense.floats.insert(dense.floats.begin(), dense.ints.size(), 0.0f);
      size_t row = i / static_cast<size_t>(s.k), group_index = i % static_cast<size_t>(s.k) / 32;
      dense.floats[i] = static_cast<float>(dense.ints[i]) * dense.floats[dense.ints.size() + row * groups + group_index];
    }
  double sum = absolute_sum(dense, c.logical(weight)), tolerance = dot_error(s.k, sum) + elementwise_error(sum + 1);
  for (char step : epilogue) tolerance *= step == 'm' || step == 'G' ? sum + 2 : 1.2;  // |f'| <= 1.13 of every activation
  c.run([&](float e, float a, int64_t i, const std::string&) { ASSERT_NEAR(e, a, tolerance) << "element " << i; });
}

TEST(Matmul, PlainWeights) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
    for (Shape s : {Shape{1, 1, 1}, {1, 17, 33}, {1, 16, 64}, {3, 15, 67}, {17, 5, 40}})
      check_matmul({WeightFormat::plain(dtype)}, s);
}

TEST(Matmul, PackedGroups) {
  for (WeightFormat f : {group(4, DType::kF16), group(4, DType::kBF16, true), group(3, DType::kF16), group(3, DType::kF16, true),
                         group(4, DType::kF32)})
    for (Shape s : {Shape{1, 17, 33}, {3, 8, 80}}) check_matmul({f}, s);
}

TEST(Matmul, TiledGroups) {
  for (std::string layout : {"tile8", "tile16"})
    for (WeightFormat f : {group(4, DType::kF16), group(4, DType::kBF16, true), group(3, DType::kF16, true)})
      for (Shape s : {Shape{1, 1, 1}, {1, 32, 64}, {1, 33, 100}, {3, 7, 96}, {17, 24, 40}}) check_matmul({f, layout}, s);
}

TEST(Matmul, Epilogues) {
  for (std::string steps : {"b", "bs", "g", "t", "r", "m", "a", "bG", "Gma", "G"})
    for (Weight w : {Weight{WeightFormat::plain(DType::kF16)}, Weight{group(4, DType::kF16), "tile8"}})
      for (Shape s : {Shape{1, 32, 64}, {3, 44, 40}}) check_matmul(w, s, steps);
}

TEST(Matmul, Int8Activations) {
  for (std::string layout : {"tile8", "tile16"})
    for (WeightFormat f : {group(4, DType::kF16), group(4, DType::kBF16, true)})
      for (Shape s : {Shape{1, 1, 1}, {1, 48, 96}, {1, 33, 100}, {3, 7, 96}, {17, 24, 40}})
        for (std::string steps : {"", "bs", "Gma"})
          if (s.n % 2 == 0 || steps != "Gma") check_matmul({f, layout}, s, steps, true);
}

TEST(Take, ReadsEveryLayout) {
  for (Weight w : {Weight{WeightFormat::plain(DType::kF32)}, Weight{WeightFormat::plain(DType::kBF16)}, Weight{group(4, DType::kF16)},
                   Weight{group(4, DType::kF16), "tile8"}, Weight{group(4, DType::kF32), "tile16"}, Weight{group(3, DType::kF16)},
                   Weight{group(3, DType::kBF16), "tile8"}})
    for (int64_t k : {1, 40, 67, 128}) {
      SCOPED_TRACE(w.format.text() + "@" + w.layout + " k " + std::to_string(k));
      std::mt19937 random(3);
      OpCase c({{"rows", 5}});
      graph::Value* table = add_weight(c, w, 19, k, random);
      c.g->take(table, c.indices(Dim::symbol("rows"), {18, 0, 7, 7, 8}));
      c.run([](float e, float a, int64_t i, const std::string&) { ASSERT_EQ(e, a) << i; });
    }
}

}  // namespace
}  // namespace mlc::testing
