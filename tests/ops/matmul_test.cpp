// matmul and take over every weight format and layout, against the graph's meaning.
#include <cstring>
#include <limits>

#include "ops/tolerance.h"
#include "support/op_batch.h"
#include "support/toy_graph.h"

namespace mlc::testing {
namespace {

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

// Steps of the region by letter: b bias, s silu, g gelu, t gelu_tanh, r relu, m multiply, a add, w multiply
// by a factor of the row, c cap by tanh, G gated silu, L limited swiglu.
void add_steps(OpCase& c, graph::Node& node, const std::string& steps, const Shape& s, std::mt19937& random) {
  using R = graph::RegionBuilder;
  auto add = [&](const std::function<R::Ref(R&)>& step) { then(node.region, step); };
  int64_t columns = s.n;
  for (char step : steps) {
    if (step == 'G' || step == 'L') columns /= 2;
    auto operand = [&] {
      return c.matrix(Dim::symbol("rows"), columns, random_floats(s.rows * columns, 1, random), columns + 9,
                      2);
    };
    auto of_row = [&] { return c.matrix(Dim::symbol("rows"), 1, random_floats(s.rows, 1, random)); };
    auto limited = [](R& r) {  // gpt-oss: x * sigmoid(1.702 x) * (up + 1)
      R::Ref gate = r.clamp(r.gate(), -std::numeric_limits<double>::infinity(), 7);
      return r.call("quick_gelu", gate) * (r.clamp(r.up(), -7, 7) + r.constant(1));
    };
    switch (step) {
      case 'b':
        add([&](R& r) {
          return r.x() + r.operand(c.parameter(DType::kF16, {columns}, random_floats(columns, 1, random)));
        });
        break;
      case 's': add([&](R& r) { return r.call("silu", r.x()); }); break;
      case 'g': add([&](R& r) { return r.call("gelu", r.x()); }); break;
      case 't': add([&](R& r) { return r.call("gelu_tanh", r.x()); }); break;
      case 'r': add([&](R& r) { return r.call("relu", r.x()); }); break;
      case 'm': add([&](R& r) { return r.x() * r.operand(operand()); }); break;
      case 'a': add([&](R& r) { return r.x() + r.operand(operand()); }); break;
      case 'w': add([&](R& r) { return r.x() * r.operand(of_row()); }); break;
      case 'c': add([&](R& r) { return r.call("tanh", r.x() / r.constant(3)) * r.constant(3); }); break;
      case 'L': add(limited); break;
      default: add([&](R& r) { return r.call("silu", r.gate()) * r.up(); }); break;
    }
  }
  node.outputs[0]->type.shape[1] = columns;
}

// codes * scales of quantized activations.
graph::HostTensor dense(const graph::HostTensor& x, int group) {
  if (x.ints.empty()) return x;
  graph::HostTensor out{DType::kF32, x.shape, {}, {}};
  int64_t groups = (x.shape[1] + group - 1) / group;
  for (int64_t r = 0; r < x.shape[0]; ++r)
    for (int64_t c = 0; c < x.shape[1]; ++c)
      out.floats.push_back(static_cast<float>(x.ints[r * x.shape[1] + c]) * x.floats[r * groups + c / group]);
  return out;
}

enum class Input {
  kFloat,
  kInt8,
  kInt8Extreme,
  kTiles
};  // extreme: codes of +-127 against the largest weights
enum class Body { kAny, kFewRows };  // which guard a call with several rows has

OpCase& add_matmul(OpBatch& batch, const Weight& w, const Shape& s, const std::string& epilogue = "",
                   Input input = Input::kFloat, Body body = Body::kAny) {
  const std::string codes =
      w.format.is_quantized() ? graph::TensorType::q8({}, w.format).element_text() : std::string();
  const std::string type = input == Input::kFloat ? "f32" : input == Input::kTiles ? "tiles" : codes;
  OpCase& c = batch.add(str(type, " x ", w.format.text(), "@", w.layout, " rows ", s.rows, " n ", s.n, " k ",
                            s.k, " ", epilogue),
                        {{"rows", s.rows}});
  std::mt19937 random(static_cast<unsigned>(s.rows * 31 + s.n * 7 + s.k));
  bool extreme = input == Input::kInt8Extreme;
  std::vector<float> values = random_floats(s.rows * s.k, 2.0f, random);
  if (extreme)
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = i / static_cast<size_t>(s.k) % 2 ? -127.0f : 127.0f;
  if (input == Input::kInt8 && s.k > 64)
    std::fill_n(values.begin(), w.format.group, 0.0f);  // a group of zeros
  bool floats = input == Input::kFloat;
  graph::Value* x = c.matrix(Dim::symbol("rows"), s.k, values, floats ? s.k + 5 : 0, floats ? 3 : 0);
  if (!floats) {
    x = input == Input::kTiles ? c.g->op("to_tiles", {x})[0]
                               : c.g->op("quantize_q8", {x}, {{"output", codes}})[0];
    c.evaluate_last();
  }
  std::vector<float> ones(static_cast<size_t>(s.n * s.k), 1.0f);
  for (size_t i = 0; extreme && i < ones.size(); ++i)
    ones[i] = i / static_cast<size_t>(s.k) % 3 ? 1.0f : -1.0f;
  graph::Value* weight =
      extreme ? c.quantized(w.format, w.layout, s.n, s.k, ones) : add_weight(c, w, s.n, s.k, random);
  c.g->matmul(x, weight);
  add_steps(c, *c.module.functions[0]->nodes.back(), epilogue, s, random);
  if (s.rows == 1)
    c.options.min_rows = c.options.max_rows = 1;
  else if (body == Body::kFewRows)
    c.options.min_rows = 2, c.options.max_rows = 16;
  double sum = absolute_sum(dense(c.logical(x), w.format.kernel_group()), c.logical(weight));
  // A code is met less 7, and what that stands for apart: each may be 15 times the weight.
  if (w.format.has_offsets()) sum *= 30;
  c.rule.tolerance = dot_error(s.k, sum) + elementwise_error(sum + 1);
  for (char step : epilogue)
    c.rule.tolerance *= std::strchr("mGL", step) ? sum + 2 : 1.2;  // |f'| <= 1.13 of every activation
  return c;
}

using PlainMatmul = OpTest;
using GroupMatmul = OpTest;
using Int8Matmul = OpTest;
using Epilogue = OpTest;
using Take = OpTest;

// Around a tile of `tile` weight rows and a group of 32 columns, with ragged batches.
std::vector<Shape> shapes_around(int64_t tile) {
  return {{1, 1, 1}, {1, tile - 1, 33}, {1, 3 * tile, 96}, {3, 2 * tile + 1, 100}, {17, tile, 40}};
}

TEST_F(PlainMatmul, EveryType) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
    for (Shape s : {Shape{1, 1, 1}, {1, 17, 33}, {1, 16, 64}, {3, 15, 67}, {17, 5, 40}})
      add_matmul(batch, {WeightFormat::plain(dtype)}, s);
}

TEST_F(GroupMatmul, Packed) {
  for (WeightFormat f : {group(4, DType::kF16), group(4, DType::kBF16, true), group(3, DType::kF16),
                         group(3, DType::kF16, true), group(4, DType::kF32)})
    for (Shape s : {Shape{1, 17, 33}, {3, 8, 80}}) add_matmul(batch, {f}, s);
}

TEST_F(GroupMatmul, TilesOf8) {
  for (WeightFormat f : {group(4, DType::kF16), group(3, DType::kF16, true)})
    for (const Shape& s : shapes_around(8)) add_matmul(batch, {f, "tile8"}, s);
  add_matmul(batch, {group(4, DType::kBF16, true), "tile8"}, {3, 17, 100});
}

// Zero points of their own for each group: AWQ's, of 128 and of other sizes, and pairs.
TEST_F(GroupMatmul, Offsets) {
  for (const char* layout : {"tile8", "tile16"})
    for (Shape s : {Shape{1, 8, 1}, {1, 24, 300}, {3, 40, 256}, {17, 16, 40}}) {
      add_matmul(batch, {WeightFormat::awq(), layout}, s);
      add_matmul(batch, {WeightFormat::paired(s.rows == 3), layout}, {s.rows, s.n + 1, s.k});
    }
  for (int group : {32, 64, 128}) add_matmul(batch, {WeightFormat::awq(group), "tile8"}, {3, 48, 128}, "Gma");
}

// Groups of the file that are two of the kernels', and words of the file that are half of theirs.
TEST_F(GroupMatmul, FormatsOf2023) {
  for (const char* layout : {"tile8", "tile16"})
    for (Shape s : {Shape{1, 7, 1}, {1, 24, 48}, {3, 17, 100}, {17, 16, 320}})
      for (int bits : {3, 8})
        add_matmul(batch, {WeightFormat::grouped_2023(bits, s.rows == 3), layout}, s, s.n == 24 ? "Gm" : "");
}

const std::vector<WeightFormat> kFloat8 = {
    WeightFormat::float8(WeightFormat::Code::kE4M3), WeightFormat::float8(WeightFormat::Code::kE4M3, true),
    WeightFormat::float8(WeightFormat::Code::kE5M2), WeightFormat::float8_blocks()};

// Rows of bytes that may end within a word, and one scale for a tensor, for 128 x 128 of it or none.
TEST_F(GroupMatmul, Float8) {
  for (const char* layout : {"tile8", "tile16"})
    for (Shape s : {Shape{1, 7, 1}, {1, 24, 48}, {3, 17, 101}, {17, 16, 320}, {2, 133, 259}})
      for (const WeightFormat& f : kFloat8) add_matmul(batch, {f, layout}, s, s.n == 24 ? "Gm" : "");
}

TEST_F(GroupMatmul, TilesOf16) {
  for (WeightFormat f : {group(4, DType::kF16), group(3, DType::kF16, true)})
    for (const Shape& s : shapes_around(16)) add_matmul(batch, {f, "tile16"}, s);
  add_matmul(batch, {group(4, DType::kBF16, true), "tile16"}, {3, 17, 100});
}

TEST_F(Epilogue, OfPlainWeights) {
  for (std::string steps : {"b", "bs", "g", "t", "r", "m", "a", "bG", "Gma", "G", "wa", "c", "bL"})
    add_matmul(batch, {WeightFormat::plain(DType::kF16)}, {3, 44, 40}, steps);
  for (std::string steps : {"bs", "Gma"})
    add_matmul(batch, {WeightFormat::plain(DType::kF16)}, {1, 32, 64}, steps);
}

TEST_F(Epilogue, OfTiledWeights) {
  for (std::string steps : {"b", "bs", "g", "t", "r", "m", "a", "bG", "Gma", "G", "wa", "c", "bL"})
    add_matmul(batch, {group(4, DType::kF16), "tile8"}, {1, 32, 64}, steps);
  for (std::string steps : {"bs", "Gma"})
    add_matmul(batch, {group(4, DType::kF16), "tile8"}, {3, 44, 40}, steps);
}

void add_int8(OpBatch& batch, const std::string& layout, int64_t tile, int bits = 4) {
  Weight plain{group(bits, DType::kF16), layout}, transposed{group(bits, DType::kBF16, true), layout};
  for (const Shape& s : shapes_around(tile)) add_matmul(batch, plain, s, "", Input::kInt8);
  add_matmul(batch, transposed, {3, 2 * tile + 1, 100}, "", Input::kInt8);
  add_matmul(batch, transposed, {1, tile, 64}, "bs", Input::kInt8);
  add_matmul(batch, plain, {3, 3 * tile, 96}, "Gma", Input::kInt8);
}

TEST_F(Int8Matmul, TilesOf8) { add_int8(batch, "tile8", 8); }
TEST_F(Int8Matmul, TilesOf16) { add_int8(batch, "tile16", 16); }
TEST_F(Int8Matmul, TilesOf8With3Bits) { add_int8(batch, "tile8", 8, 3); }
TEST_F(Int8Matmul, TilesOf16With3Bits) { add_int8(batch, "tile16", 16, 3); }
TEST_F(Int8Matmul, TilesOf8With8Bits) { add_int8(batch, "tile8", 8, 8); }
TEST_F(Int8Matmul, TilesOf16With8Bits) { add_int8(batch, "tile16", 16, 8); }

TEST_F(Int8Matmul, ExtremeCodes) {
  for (Weight w : {Weight{group(4, DType::kF16), "tile8"}, Weight{group(4, DType::kF16), "tile16"},
                   Weight{group(3, DType::kF16), "tile8"}, Weight{group(3, DType::kF16), "tile16"},
                   Weight{group(8, DType::kF16), "tile8"}, Weight{group(8, DType::kF16), "tile16"}}) {
    for (Shape s : {Shape{1, 16, 320}, {13, 16, 320}}) add_matmul(batch, w, s, "", Input::kInt8Extreme);
    add_matmul(batch, w, {5, 16, 320}, "", Input::kInt8Extreme, Body::kFewRows);
  }
}

void add_few_rows(OpBatch& batch, const std::string& layout, int64_t tile, int bits = 4) {
  Weight plain{group(bits, DType::kF16), layout}, transposed{group(bits, DType::kBF16, true), layout};
  auto add = [&](const Weight& w, const Shape& s, const std::string& epilogue = "") {
    add_matmul(batch, w, s, epilogue, Input::kInt8, Body::kFewRows);
  };
  for (int64_t rows : {2, 3, 4, 5, 9, 16}) add(plain, {rows, 2 * tile + 1, 100});
  add(transposed, {3, tile - 1, 33});
  add(plain, {6, 4 * tile, 96}, "Gma");
  add(plain, {7, 2 * (tile + 3), 64}, "bG");  // halves that share no tile border
  add(transposed, {8, tile, 64}, "bs");
}

TEST_F(Int8Matmul, FewRowsTilesOf8) { add_few_rows(batch, "tile8", 8); }
TEST_F(Int8Matmul, FewRowsTilesOf16) { add_few_rows(batch, "tile16", 16); }
TEST_F(Int8Matmul, FewRowsTilesOf8With3Bits) { add_few_rows(batch, "tile8", 8, 3); }
TEST_F(Int8Matmul, FewRowsTilesOf16With3Bits) { add_few_rows(batch, "tile16", 16, 3); }
TEST_F(Int8Matmul, FewRowsTilesOf8With8Bits) { add_few_rows(batch, "tile8", 8, 8); }
TEST_F(Int8Matmul, FewRowsTilesOf16With8Bits) { add_few_rows(batch, "tile16", 16, 8); }

void add_many_rows(OpBatch& batch, const std::string& layout, int64_t tile, int bits = 4) {
  Weight plain{group(bits, DType::kF16), layout}, transposed{group(bits, DType::kBF16, true), layout};
  auto add = [&](const Weight& w, const Shape& s, const std::string& epilogue = "") {
    add_matmul(batch, w, s, epilogue, Input::kInt8);
  };
  for (int64_t rows : {11, 12, 13, 25}) add(plain, {rows, 3 * tile + 1, 100});
  add(transposed, {26, 2 * tile, 64}, "bs");
  add(plain, {24, 6 * tile, 96}, "Gma");
  add(plain, {19, 2 * (tile + 3), 40}, "bG");
  add(plain, {75, tile + 1, 5600});  // several blocks of rows: 175 groups of 40 bytes a row
}

TEST_F(Int8Matmul, ManyRowsTilesOf8) { add_many_rows(batch, "tile8", 8); }
TEST_F(Int8Matmul, ManyRowsTilesOf16) { add_many_rows(batch, "tile16", 16); }
TEST_F(Int8Matmul, ManyRowsTilesOf8With3Bits) { add_many_rows(batch, "tile8", 8, 3); }
TEST_F(Int8Matmul, ManyRowsTilesOf16With3Bits) { add_many_rows(batch, "tile16", 16, 3); }
TEST_F(Int8Matmul, ManyRowsTilesOf8With8Bits) { add_many_rows(batch, "tile8", 8, 8); }
TEST_F(Int8Matmul, ManyRowsTilesOf16With8Bits) { add_many_rows(batch, "tile16", 16, 8); }

// The interpreter runs these everywhere, machine code where there is a matrix unit.
class MatrixMatmul : public OpTest {
 protected:
  std::vector<Target> targets() const override {
    std::vector<Target> all = x86_64_targets();
    std::erase_if(all, [](const Target& t) { return t.matrix_unit.rows == 0; });
    return all;
  }
};

// 32 rows make a tile, 16 columns a vector, 8 of those a panel, 32 groups a chunk.
TEST_F(MatrixMatmul, EveryTail) {
  Weight plain{group(4, DType::kF16), "tile16"}, transposed{group(4, DType::kBF16, true), "tile16"};
  for (const Shape& s : {Shape{2, 16, 32},
                         {17, 33, 33},
                         {32, 64, 64},
                         {33, 80, 100},
                         {64, 15, 40},
                         {40, 200, 544},
                         {20, 96, 1100}})
    add_matmul(batch, plain, s, "", Input::kTiles);
  add_matmul(batch, transposed, {21, 47, 100}, "", Input::kTiles);
}

TEST_F(MatrixMatmul, Epilogues) {
  Weight plain{group(4, DType::kF16), "tile16"};
  add_matmul(batch, plain, {18, 64, 64}, "bs", Input::kTiles);
  add_matmul(batch, plain, {24, 96, 96}, "Gma", Input::kTiles);
  add_matmul(batch, plain, {19, 2 * 19, 40}, "bG", Input::kTiles);  // halves that share no tile border
  add_matmul(batch, plain, {35, 160, 576}, "a", Input::kTiles);
}

TEST_F(MatrixMatmul, SeveralBlocksOfRows) {
  add_matmul(batch, {group(4, DType::kF16), "tile16"}, {515, 20, 64}, "", Input::kTiles);
}

// A row's result does not depend on how many rows are computed with it: all bodies for codes add the same
// numbers in one order.
void expect_equal_bits(const Target& target, int bits) {
  std::string layout = target.f32_lanes() >= 16 ? "tile16" : "tile8";
  OpBatch batch;
  std::vector<OpCase*> cases;
  for (Shape s : {Shape{1, 40, 320}, {9, 40, 320}, {9, 40, 320}, {29, 40, 320}})
    cases.push_back(&add_matmul(batch, {group(bits, DType::kF16), layout}, s, "", Input::kInt8,
                                cases.size() == 1 ? Body::kFewRows : Body::kAny));
  std::vector<kernel::Function> kernels;
  std::vector<KernelCall> calls;
  for (OpCase* c : cases) {
    kernels.push_back(c->lower(target));
    kernels.back().name += std::to_string(kernels.size());
    // The weights of the first and the longest activations, which the shorter ones begin.
    std::vector<Bytes> memory = c->memory();
    memory[1] = cases[0]->memory()[1];
    std::copy_n(cases[3]->memory()[0].begin(), memory[0].size(), memory[0].begin());
    calls.push_back({.kernel = calls.size(),
                     .tiles = c->tiles(kernels.back()),
                     .dims = c->dims(kernels.back()),
                     .buffers = memory});
  }
  NativeKernels(kernels, target).run_calls(calls);
  const Bytes& longest = calls[3].buffers[2];
  for (const KernelCall& call : calls)
    EXPECT_TRUE(std::equal(call.buffers[2].begin(), call.buffers[2].end(), longest.begin()))
        << target.name << ", " << bits << " bits, " << call.dims[0] << " rows";
}

TEST(Int8MatmulBodies, GiveEqualBits) {
  for (const Target& target : testable_targets())
    for (int bits : {4, 3, 8}) expect_equal_bits(target, bits);
}

TEST_F(Take, ReadsEveryLayout) {
  for (Weight w :
       {Weight{WeightFormat::plain(DType::kF32)}, Weight{WeightFormat::plain(DType::kBF16)},
        Weight{group(4, DType::kF16)}, Weight{group(4, DType::kF16), "tile8"},
        Weight{group(4, DType::kF32), "tile16"}, Weight{group(3, DType::kF16)},
        Weight{group(3, DType::kBF16), "tile8"}, Weight{group(3, DType::kF16), "tile16"},
        Weight{WeightFormat::paired(false), "tile8"}, Weight{WeightFormat::grouped_2023(3, false), "tile8"},
        Weight{WeightFormat::grouped_2023(8, false), "tile16"}, Weight{kFloat8[0], "tile8"},
        Weight{kFloat8[2], "tile16"}, Weight{kFloat8[3], "tile8"}})
    for (int64_t k : {1, 67, 128}) {
      std::mt19937 random(3);
      OpCase& c = batch.add(str("take from ", w.format.text(), "@", w.layout, " k ", k), {{"rows", 5}});
      graph::Value* table = add_weight(c, w, 19, k, random);
      c.g->take(table, c.indices(Dim::symbol("rows"), {18, 0, 7, 7, 8}));
      if (w.format.has_offsets())
        c.rule = {.tolerance = elementwise_error(3), .relative = true, .hard = false};
    }
}

}  // namespace
}  // namespace mlc::testing
