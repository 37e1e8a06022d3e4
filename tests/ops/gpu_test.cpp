// Every op that has a GPU form against the graph's meaning: kernels for each class of device, run by the
// interpreter, which also checks alignment, races and barriers, and in test_suite_gpu by every GPU device of
// this machine.
#include <limits>

#include "base/draw.h"
#include "base/user_error.h"
#include "graph/ops/norm.h"
#include "kernel/lower/gpu/weight.h"
#include "ops/sliding_case.h"
#include "ops/tolerance.h"
#include "support/gpu_op_test.h"
#include "support/toy_graph.h"

namespace mlc::testing {
namespace {

const Dim kRows = Dim::symbol("rows");

Rule near(double tolerance) { return {.tolerance = tolerance, .relative = true, .hard = true}; }

TEST_F(Gpu, Norms) {
  for (int64_t n : {1, 15, 64, 200, 1100, 9000})
    for (std::string op : {"rms_norm", "layer_norm"}) {
      if (n == 1 && op == "layer_norm") continue;
      std::mt19937 random(1);
      OpCase& c = add(str(op, " of ", n), {{"rows", 2}});
      graph::Value* x =
          c.matrix(kRows, n, random_floats(2 * n, 3, random), n % 2 ? n + 2 : n + 4, n % 2 ? 1 : 4);
      graph::Value* weight = c.parameter(DType::kF16, {n}, random_floats(n, 1, random));
      if (op == "rms_norm")
        c.g->rms_norm(x, weight, 1e-5);
      else
        c.g->layer_norm(x, weight, c.parameter(DType::kBF16, {n}, random_floats(n, 1, random)), 1e-5);
      c.rule = near(4 * norm_error(n, 2 * std::sqrt(double(n))));
    }
}

TEST_F(Gpu, NormsOfHeads) {
  for (int64_t n : {15, 64, 128})
    for (int64_t rows : {1, 3}) {
      std::mt19937 random(5);
      OpCase& c = add(str("rms_norm of ", rows, " x 3 heads of ", n), {{"rows", rows}});
      graph::Value* x = c.matrix(kRows, 3 * n, random_floats(rows * 3 * n, 3, random), 4 * n + 4, n);
      c.g->rms_norm(x, c.parameter(DType::kF16, {n}, random_floats(n, 1, random)), 1e-5);
      c.rule = near(4 * norm_error(n, 2 * std::sqrt(double(n))));
    }
}

TEST_F(Gpu, Elementwise) {
  std::mt19937 random(4);
  for (int64_t n : {1, 18, 64}) {
    for (std::string op : {"add", "mul"}) {
      OpCase& c = add(str(op, " of ", n), {{"rows", 2}});
      graph::Value* x = c.matrix(kRows, n, random_floats(2 * n, 3, random), n + 6, 2);
      graph::Value* y = c.matrix(kRows, n, random_floats(2 * n, 3, random), n + 4, 1);
      op == "add" ? c.g->add(x, y) : c.g->mul(x, y);
    }
    OpCase& bias = add(str("bias of ", n), {{"rows", 3}});
    graph::Value* x = bias.matrix(kRows, n, random_floats(3 * n, 3, random));
    bias.g->bias(x, bias.parameter(DType::kF16, {n}, random_floats(n, 1, random)));
  }
  for (std::string f : {"silu", "gelu", "gelu_tanh", "relu", "sigmoid"}) {
    OpCase& c = add(f, {{"rows", 1}});
    c.g->activation(c.matrix(kRows, 10, {0, 1e-30f, 88, -88, 1e4f, -1e4f, 0.5f, -0.5f, 6, -6}), f);
    c.rule = near(elementwise_error(1));
  }
  OpCase& gated = add("gated", {{"rows", 3}});
  gated.g->gated(gated.matrix(kRows, 36, random_floats(3 * 36, 3, random)), "silu");
  gated.rule = near(elementwise_error(3));
  for (int64_t begin : {4, 5}) {
    OpCase& slice = add(str("slice from ", begin), {{"rows", 3}});
    slice.g->slice(slice.matrix(kRows, 40, random_floats(120, 3, random)), begin, begin + 24);
  }
  for (std::string dtype : {"f16", "bf16", "f32"}) {
    OpCase& cast = add(str("cast to ", dtype), {{"rows", 3}});
    cast.g->op("cast", {cast.matrix(kRows, 18, random_floats(54, 3, random))}, {{"dtype", dtype}});
  }
}

TEST_F(Gpu, Rope) {
  for (bool interleaved : {false, true})
    for (int64_t rotary : {6, 16, 20}) {
      std::mt19937 random(6);
      OpCase& c = add(str("rope of ", rotary, interleaved ? " interleaved" : ""), {{"rows", 3}});
      graph::Value* x = c.matrix(kRows, 60, random_floats(3 * 60, 2, random), 64, 4);
      c.g->rope(x, c.matrix(kRows, rotary, random_floats(3 * rotary, 1, random)), 20, rotary, interleaved);
      c.rule = near(elementwise_error(4));
    }
}

WeightFormat group(int bits, DType scale, bool transposed = false) {
  return {WeightFormat::Kind::kGroup, scale, bits, bits == 3 ? 40 : 32, transposed};
}

const std::vector<WeightFormat> kFloat8 = {WeightFormat::float8(WeightFormat::Code::kE4M3),
                                           WeightFormat::float8(WeightFormat::Code::kE5M2),
                                           WeightFormat::float8_blocks()};

TEST_F(Gpu, Take) {
  std::mt19937 random(7);
  for (WeightFormat f :
       {group(4, DType::kF16), group(4, DType::kF32), group(4, DType::kBF16), group(3, DType::kF16),
        WeightFormat::paired(false), WeightFormat::grouped_2023(3, false),
        WeightFormat::grouped_2023(8, false), kFloat8[0], kFloat8[1], kFloat8[2],
        WeightFormat::plain(DType::kF16), WeightFormat::plain(DType::kF32)})
    for (int64_t k : {96, 72}) {
      OpCase& c = add(str("take of ", f.text(), " ", k), {{"rows", 3}});
      std::vector<float> values = random_floats(40 * k, 1, random);
      graph::Value* table = f.is_quantized() ? c.quantized(f, kernel::kLaneLayout, 40, k, values)
                                             : c.parameter(f.dtype, {40, k}, values);
      c.g->take(table, c.indices(kRows, {0, 39, 33}));
      if (f.has_offsets()) c.rule = near(elementwise_error(3));
    }
}

// Steps of the region by letter: b bias, s silu, m multiply, a add, w multiply by a factor of the row, G
// gated silu.
void add_steps(OpCase& c, graph::Node& node, const std::string& steps, int64_t rows, int64_t n,
               std::mt19937& random) {
  for (char step : steps) {
    if (step == 'G') n /= 2;
    auto operand = [&] { return c.matrix(kRows, n, random_floats(rows * n, 1, random)); };
    then(node.region, [&](graph::RegionBuilder& r) {
      switch (step) {
        case 'b': return r.x() + r.operand(c.parameter(DType::kF16, {n}, random_floats(n, 1, random)));
        case 's': return r.call("silu", r.x());
        case 'm': return r.x() * r.operand(operand());
        case 'a': return r.x() + r.operand(operand());
        case 'w': return r.x() * r.operand(c.matrix(kRows, 1, random_floats(rows, 1, random)));
        default: return r.call("silu", r.gate()) * r.up();
      }
    });
  }
  node.outputs[0]->type.shape[1] = n;
}

struct Shape {
  int64_t rows, n, k;
};

void add_normed(OpCase& c, graph::Value* x, graph::Value* w, const std::string& norm, std::mt19937& random) {
  const int64_t k = x->type.shape[1].constant();
  const std::string op = norm.substr(0, norm.find(' '));
  std::vector<graph::Value*> inputs = {x, w, c.parameter(DType::kF16, {k}, random_floats(k, 1, random))};
  if (op != norm) inputs.push_back(c.parameter(DType::kBF16, {k}, random_floats(k, 1, random)));
  c.g->op("matmul", inputs, {{"norm", op}, {"eps", 1e-5}});
}

// x as the case's matmul meets it.
graph::HostTensor multiplied(const OpCase& c) {
  const graph::Node& node = *c.module.functions[0]->nodes.back();
  std::vector<const graph::HostTensor*> inputs;
  for (const graph::Value* v : node.inputs) inputs.push_back(&c.logical(v));
  return graph::normed(node, inputs);
}

class GpuMatmul : public Gpu {
 protected:
  void add_matmul(const WeightFormat& f, const Shape& s, const std::string& epilogue = "",
                  int64_t max_rows = 0, const std::string& norm = "") {
    OpCase& c = add(
        str(f.text(), " rows ", s.rows, " of ", max_rows, " n ", s.n, " k ", s.k, " ", epilogue, " ", norm),
        {{"rows", s.rows}});
    std::mt19937 random(static_cast<unsigned>(s.rows * 31 + s.n * 7 + s.k));
    int64_t stride = s.k % 4 ? s.k + 5 : s.k + 8;
    graph::Value* x = c.matrix(kRows, s.k, random_floats(s.rows * s.k, 2, random), stride, s.k % 4 ? 3 : 4);
    std::vector<float> values = random_floats(s.n * s.k, 1, random);
    graph::Value* w = f.is_quantized() ? c.quantized(f, kernel::kLaneLayout, s.n, s.k, values)
                                       : c.parameter(f.dtype, {s.n, s.k}, values);
    if (norm.empty())
      c.g->matmul(x, w);
    else
      add_normed(c, x, w, norm, random);
    add_steps(c, *c.module.functions[0]->nodes.back(), epilogue, s.rows, s.n, random);
    if (s.rows == 1) c.options.min_rows = c.options.max_rows = 1;
    if (max_rows) c.options.min_rows = 2, c.options.max_rows = max_rows;
    const graph::HostTensor y = multiplied(c),
                            ones = {DType::kF32, {1, s.k}, std::vector<float>(size_t(s.k), 1), {}};
    double sum = absolute_sum(y, c.logical(w));
    // Codes are met with their zero point apart: the two sums are up to 15 and 7 times the result's in
    // magnitude.
    const double parts = !f.is_quantized() || f.is_float8() ? 1 : f.is_centered() ? 22 : 30;
    c.rule.tolerance = dot_error(s.k, parts * sum) + elementwise_error(sum + 1);
    // Elements of +-2 evenly spread are below 2 once they are normed.
    if (!norm.empty()) c.rule.tolerance += 4 * norm_error(s.k, 2 * absolute_sum(ones, c.logical(w)));
    for (char step : epilogue) c.rule.tolerance *= step == 'm' || step == 'G' ? sum + 2 : 1.2;
  }
};

TEST_F(GpuMatmul, OneRowThatIsNormed) {
  for (std::string norm : {"rms_norm", "layer_norm", "layer_norm with bias"}) {
    for (Shape s : {Shape{1, 30, 33}, {1, 96, 96}, {1, 40, 300}, {1, 40, 2048}})
      add_matmul(group(4, DType::kF16), s, "", 0, norm);
    add_matmul(group(3, DType::kF16), {1, 40, 120}, "Ga", 0, norm);
  }
  add_matmul(WeightFormat::awq(), {1, 96, 128}, "b", 0, "rms_norm");
}

// The graph pass asks for no others.
TEST(GpuMatmulNorm, OfSeveralRowsOrPlainWeightsIsNoKernel) {
  for (int64_t rows : {1, 2}) {
    OpCase c({{"rows", rows}});
    std::mt19937 random(1);
    graph::Value* x = c.matrix(kRows, 32, random_floats(rows * 32, 1, random));
    graph::Value* w = rows == 1 ? c.parameter(DType::kF16, {32, 32}, random_floats(1024, 1, random))
                                : c.quantized(group(4, DType::kF16), kernel::kLaneLayout, 32, 32,
                                              random_floats(1024, 1, random));
    add_normed(c, x, w, "rms_norm", random);
    if (rows == 1) c.options.min_rows = c.options.max_rows = 1;
    EXPECT_DEATH(c.lower(class_target("vulkan-nvidia")), "fuse_norms gave a norm to a matmul");
  }
}

TEST_F(GpuMatmul, Plain) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
    for (Shape s : {Shape{1, 1, 1}, {1, 17, 33}, {1, 16, 64}, {3, 15, 66}, {9, 5, 40}, {2, 4, 300}})
      add_matmul(WeightFormat::plain(dtype), s);
  for (std::string steps : {"b", "s", "bG", "Gma"})
    add_matmul(WeightFormat::plain(DType::kF16), {3, 44, 40}, steps);
  add_matmul(WeightFormat::plain(DType::kF16), {1, 32, 64}, "Gma");
}

TEST_F(GpuMatmul, OneRow) {
  for (WeightFormat f : {group(4, DType::kF16), group(4, DType::kBF16, true), group(3, DType::kF16, true),
                         group(3, DType::kF16), group(4, DType::kF32)})
    for (Shape s : {Shape{1, 2, 1}, {1, 30, 33}, {1, 96, 96}, {1, 150, 300}}) add_matmul(f, s);
  for (std::string steps : {"b", "bs", "m", "a", "bG", "Gma", "G", "wa"})
    add_matmul(group(4, DType::kF16), {1, 140, 64}, steps);
  for (WeightFormat f :
       {WeightFormat::awq(), WeightFormat::awq(32), WeightFormat::awq(64), WeightFormat::paired(true)})
    for (Shape s : {Shape{1, 8, 1}, {1, 96, 96}, {1, 152, 300}}) add_matmul(f, s);
  for (int bits : {3, 8})
    for (Shape s : {Shape{1, 8, 1}, {1, 96, 48}, {1, 150, 300}})
      add_matmul(WeightFormat::grouped_2023(bits, s.k == 48), s);
  for (const WeightFormat& f : kFloat8)
    for (Shape s : {Shape{1, 8, 1}, {1, 96, 48}, {1, 150, 301}}) add_matmul(f, s);
}

TEST_F(GpuMatmul, ManyRows) {
  for (WeightFormat f : {group(4, DType::kF16), group(4, DType::kBF16, true), group(3, DType::kF16, true),
                         group(4, DType::kF32)})
    for (Shape s : {Shape{2, 2, 1}, {3, 66, 100}, {70, 34, 40}, {9, 64, 64}}) add_matmul(f, s);
  for (std::string steps : {"bs", "bG", "Gma"}) add_matmul(group(4, DType::kF16), {5, 140, 64}, steps);
  for (int64_t rows : {2, 9, 16}) add_matmul(group(4, DType::kF16), {rows, 40, 64}, "", 16);
  for (WeightFormat f : {WeightFormat::awq(), WeightFormat::paired(true)})
    for (Shape s : {Shape{3, 72, 100}, {70, 40, 40}}) add_matmul(f, s);
  for (int bits : {3, 8})
    for (Shape s : {Shape{3, 72, 100}, {9, 64, 48}, {70, 40, 40}})
      add_matmul(WeightFormat::grouped_2023(bits, s.rows == 9), s);
  for (const WeightFormat& f : kFloat8)
    for (Shape s : {Shape{3, 72, 101}, {9, 64, 48}, {70, 140, 260}}) add_matmul(f, s);
}

// Random keys and values for `length` tokens of a sequence whose pages are given, in one layer; other slots
// stay NaN.
void fill_sequence(graph::HostState& s, int64_t layer, const std::vector<int32_t>& pages, int64_t length,
                   std::mt19937& random) {
  const graph::PagedState& c = s.cache;
  for (int64_t t = 0; t < length; ++t)
    for (int64_t h = 0; h < 2 * c.kv_heads; ++h) {
      int64_t at =
          (layer * s.pages + pages[size_t(t / 16)]) * c.page_elements() + (h * 16 + t % 16) * c.key_dim;
      std::vector<float> values = random_floats(c.key_dim, 1, random);
      round_floats(c.dtype, values);
      std::copy(values.begin(), values.end(), s.values.begin() + at);
    }
}

struct Heads {
  int64_t query, kv, dim;
};

class GpuAttention : public Gpu {
 protected:
  static constexpr int64_t kPool = 23;

  // Sequences of these lengths; of each, the last `tail` tokens ask.
  void add_attention(DType dtype, const Heads& h, const std::vector<int64_t>& lengths, int64_t tail = 2,
                     bool one_row = false, double softcap = 0, std::vector<float> sinks = {},
                     double alibi = 0) {
    std::mt19937 random(11);
    int64_t pages = 0;
    std::vector<int32_t> sequence, limits, indptr = {0}, ids;
    for (size_t s = 0; s < lengths.size(); ++s) {
      int64_t count = (lengths[s] + 15) / 16;
      for (int64_t p = 0; p < count; ++p) ids.push_back(static_cast<int32_t>((pages + p) * 5 % kPool));
      pages += count;
      indptr.push_back(static_cast<int32_t>(pages));
      for (int64_t t = std::max<int64_t>(0, lengths[s] - tail); t < lengths[s]; ++t) {
        sequence.push_back(static_cast<int32_t>(s));
        limits.push_back(static_cast<int32_t>(t) + 1);
      }
    }
    ASSERT_LE(pages, kPool);
    auto rows = static_cast<int64_t>(sequence.size());
    OpCase& c = add(str("attention over ", short_name(dtype), " of ", lengths.size(), " sequences, ", rows,
                        " rows, heads of ", h.dim, ", capped at ", softcap, ", biased by ", alibi),
                    {{"rows", rows}, {"batch", int64_t(lengths.size())}, {"pages", pages}});
    if (one_row) c.options.min_rows = c.options.max_rows = 1;
    c.state(graph::PagedState::of_heads("kv", 2, h.kv, h.dim, 16, dtype), kPool);
    for (size_t s = 0; s < lengths.size(); ++s)
      fill_sequence(c.states["kv"], 1, {ids.begin() + indptr[s], ids.begin() + indptr[s + 1]}, lengths[s],
                    random);
    int64_t columns = h.query * h.dim;
    graph::Value* q = c.matrix(kRows, columns, random_floats(rows * columns, 2, random), columns + 8, 8);
    double scale = 1 / std::sqrt(double(h.dim));
    c.g->attention("kv", 1,
                   {.q = q,
                    .row_sequence = c.indices(kRows, sequence),
                    .limits = c.indices(kRows, limits),
                    .page_indptr = c.indices(Dim::symbol("batch") + 1, indptr),
                    .page_ids = c.indices(Dim::symbol("pages"), ids),
                    .sinks = sinks.empty() ? nullptr : c.parameter(DType::kF16, {h.query}, sinks)},
                   {.heads = h.query, .scale = scale, .softcap = softcap, .alibi = alibi});
    int64_t longest = *std::max_element(lengths.begin(), lengths.end());
    c.rule.tolerance = attention_error(longest, h.dim, 2 * double(h.dim) * scale, 1);
    if (alibi > 0) c.rule.tolerance += biased_attention_error(2 * double(h.dim) * scale, double(longest), 1);
  }
};

TEST_F(GpuAttention, OfEveryCacheType) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
    add_attention(dtype, {6, 2, 16}, {1, 16, 17, 50});
}

TEST_F(GpuAttention, CappedScores) {
  add_attention(DType::kF16, {6, 2, 16}, {1, 17, 50}, 2, false, 1.5);
  add_attention(DType::kF32, {9, 3, 64}, {70}, 1, true, 0.5);
}

TEST_F(GpuAttention, BiasesByDistance) {
  add_attention(DType::kF16, {6, 2, 16}, {1, 17, 50}, 2, false, 0, {}, 8);
  add_attention(DType::kF32, {8, 2, 64}, {70}, 1, true, 0, {}, 4);
}

// Of all sizes: below every score, among them, above all.
TEST_F(GpuAttention, Sinks) {
  const std::vector<float> sinks = {-2000, -3, 0.5, 2, 6, 2000};
  add_attention(DType::kF16, {6, 2, 16}, {1, 17, 50}, 2, false, 0, sinks);
  add_attention(DType::kF32, {6, 2, 64}, {70}, 1, true, 0, sinks);
}

TEST_F(GpuAttention, OneRow) {
  add_attention(DType::kF16, {9, 3, 64}, {70}, 1, true);
  add_attention(DType::kF32, {9, 3, 64}, {1}, 1, true);
  add_attention(DType::kF16, {8, 1, 128}, {33}, 1, true);
  add_attention(DType::kF32, {7, 1, 80}, {40}, 1, true);
  add_attention(DType::kF16, {2, 2, 8}, {300}, 1, true);
  add_attention(DType::kF16, {2, 2, 96}, {16}, 1, true);
}

// Chunks of 8, 4 and 2 elements, whatever divides a head.
TEST_F(GpuAttention, HeadsOfAnyEvenSize) {
  for (int64_t dim : {2, 10, 12, 20, 44, 100}) {
    add_attention(DType::kF16, {4, 2, dim}, {1, 17, 50});
    add_attention(DType::kF16, {4, 2, dim}, {70}, 1, true);
  }
  add_attention(DType::kBF16, {3, 1, 20}, {33}, 9);
  add_attention(DType::kF32, {4, 2, 6}, {40}, 1, true);
}

TEST(GpuHeads, OfOddSizesAreRefused) {
  OpCase c({{"rows", 1}});
  c.state(graph::PagedState::of_heads("kv", 1, 2, 15, 16, DType::kF16), 1);
  graph::Value* k = c.matrix(kRows, 30, std::vector<float>(30));
  c.g->kv_append("kv", 0, k, k, c.indices(kRows, {0}));
  try {
    c.lower(class_target("vulkan-nvidia"));
    FAIL() << "heads of 15 elements were lowered";
  } catch (const UserError& e) {
    EXPECT_STREQ(e.what(),
                 "kv_append: heads of 15 elements have no kernel on vulkan-nvidia, expected an even number");
  }
}

TEST_F(GpuAttention, RaggedBatches) {
  add_attention(DType::kF32, {3, 3, 20}, {33}, 9);
  add_attention(DType::kF32, {4, 2, 8}, {15, 0, 17}, 3);
  add_attention(DType::kF32, {4, 2, 8}, {1, 2, 3, 0, 15, 16, 17, 31, 8, 9, 1, 1, 4, 5, 33, 16}, 2);
  add_attention(DType::kF16, {9, 3, 64}, {20, 37}, 20);
}

// One row of a sequence in parts of 4 pages, some of them past its end; keys and values are halves or floats.
TEST_F(GpuAttention, Parts) {
  for (auto [h, dtype] : {std::pair{Heads{9, 3, 64}, DType::kF16},
                          {Heads{4, 2, 20}, DType::kF32},
                          {Heads{4, 2, 10}, DType::kF16}})
    for (int64_t length : {1, 64, 65, 200}) {
      std::mt19937 random(16);
      std::vector<int32_t> ids;
      for (int32_t p = 0; p < 14; ++p) ids.push_back(p * 5 % int32_t{kPool});
      OpCase& c = add(str("attention_part of ", length, " tokens, heads of ", h.dim),
                      {{"rows", 1}, {"batch", 1}, {"pages", 14}});
      c.options.min_rows = c.options.max_rows = 1;
      c.state(graph::PagedState::of_heads("kv", 2, h.kv, h.dim, 16, dtype), kPool);
      fill_sequence(c.states["kv"], 1, ids, length, random);
      int64_t columns = h.query * h.dim;
      double scale = 1 / std::sqrt(double(h.dim));
      graph::Value* q = c.matrix(kRows, columns, random_floats(columns, 2, random), columns + 8, 8);
      c.g->op("attention_part",
              {q, c.indices(kRows, {0}), c.indices(kRows, {int32_t(length)}),
               c.indices(Dim::symbol("batch") + 1, {0, 14}), c.indices(Dim::symbol("pages"), ids)},
              {{"layer", int64_t{1}}, {"heads", h.query}, {"scale", scale}, {"part_pages", int64_t{4}}},
              "kv");
      // Sums of up to 64 tokens are not divided by their count; the scores of parts without tokens are -3e38.
      c.rule.tolerance = attention_error(64, h.dim, 2 * double(h.dim) * scale, 64);
      c.rule.relative = true;
    }
}

TEST_F(GpuAttention, JoinedParts) {
  for (int64_t dim : {64, 20})
    for (auto [parts, sinks] : {std::pair{int64_t{1}, false}, {int64_t{7}, false}, {int64_t{7}, true}}) {
      std::mt19937 random(17);
      constexpr int64_t kHeads = 3;
      std::vector<float> values = random_floats(parts * kHeads * (dim + 2), 1, random);
      for (int64_t i = 0; i < parts * kHeads; ++i) {
        values[size_t((i + 1) * (dim + 2) - 1)] = 1 + float(i % 5);  // sums of weights
        if (i < kHeads || i >= 2 * kHeads) continue;
        std::fill_n(values.begin() + i * (dim + 2), dim + 2, 0.0f);  // the second part has no tokens
        values[size_t(i * (dim + 2) + dim)] = -3e38f;
      }
      OpCase& c = add(str("attention_join of ", parts, " parts, heads of ", dim),
                      {{"rows", 1}, {"pages", parts * 4}});
      c.options.min_rows = c.options.max_rows = 1;
      graph::Value* in = c.matrix(ceildiv(Dim::symbol("pages"), 4), kHeads * (dim + 2), values);
      std::vector<graph::Value*> inputs = {in, c.indices(kRows, {1})};
      if (sinks) inputs.push_back(c.parameter(DType::kF16, {kHeads}, {-2000, 0.5, 2000}));
      c.g->op("attention_join", inputs, {{"heads", kHeads}});
      c.rule.tolerance = 2 * dot_error(parts, double(parts)) + 16 * kEps;
    }
}

// Devices of which nothing is known grant a group 16 KiB.
TEST(GpuAttentionMemory, LongHeadsFitAGroupOfAnyDevice) {
  for (std::string kind : {"opencl", "vulkan"}) {
    const std::vector<Target> targets = targets_for_device(kind).value();
    for (const Target& target : targets)
      for (int64_t dim : {64, 128, 256, 512})
        for (int64_t heads : {1, 8}) {
          OpCase c({{"rows", 3}, {"batch", 1}, {"pages", 1}});
          c.state(graph::PagedState::of_heads("kv", 1, 1, dim, 16, DType::kF16), 1);
          graph::Value* q = c.matrix(kRows, heads * dim, std::vector<float>(size_t(3 * heads * dim)));
          c.g->attention("kv", 0,
                         {.q = q,
                          .row_sequence = c.indices(kRows, {0, 0, 0}),
                          .limits = c.indices(kRows, {1, 2, 3}),
                          .page_indptr = c.indices(Dim::symbol("batch") + 1, {0, 1}),
                          .page_ids = c.indices(Dim::symbol("pages"), {0})},
                         {.heads = heads, .scale = 1});
          EXPECT_LE(c.lower(target).scratch_bytes, target.shared_bytes)
              << target.name << ", heads of " << dim;
        }
  }
}

TEST_F(GpuAttention, SlidingWindow) {
  auto sliding = [&](const SlidingShape& shape, int64_t window, int64_t sinks, int64_t step) {
    add_sliding_case([&](const std::string& label, const auto& dims) -> OpCase& { return add(label, dims); },
                     shape, window, sinks, step);
  };
  sliding({}, 17, 4, 1);
  sliding({}, 17, 0, 1);
  sliding({}, 20, 18, 20);
  sliding({.dtype = DType::kF16,
           .heads = 9,
           .kv_heads = 3,
           .head_dim = 64,
           .rotary_dim = 32,
           .interleaved = true},
          21, 4, 5);
  sliding({.dtype = DType::kF16, .heads = 5, .kv_heads = 1, .head_dim = 8, .rotary_dim = 0}, 21, 4, 5);
  sliding({.dtype = DType::kF16, .heads = 4, .head_dim = 20, .rotary_dim = 20}, 21, 4, 5);
  sliding({.dtype = DType::kF16, .heads = 4, .head_dim = 12, .rotary_dim = 4, .interleaved = true}, 21, 4, 5);
  for (int64_t part_pages : {0, 1, 2})
    sliding({.dtype = DType::kF16, .rotary_dim = 8, .one_row = true, .part_pages = part_pages}, 37, 3, 1);
}

TEST_F(GpuAttention, LayersWindow) {
  auto add_one = [&](const std::string& label, const auto& dims) -> OpCase& { return add(label, dims); };
  add_window_cases(add_one, DType::kF32, {1, 20, 100});
  add_window_cases(add_one, DType::kF16, {20});
}

// Rows of two sequences in turn.
TEST_F(GpuAttention, MixedRows) {
  std::mt19937 random(3);
  OpCase& c = add("rows in turn", {{"rows", 6}, {"batch", 2}, {"pages", 3}});
  c.state(graph::PagedState::of_heads("kv", 1, 1, 8, 16, DType::kF32), 4);
  fill_sequence(c.states["kv"], 0, {2, 0}, 20, random);
  fill_sequence(c.states["kv"], 0, {3}, 9, random);
  graph::Value* q = c.matrix(kRows, 16, random_floats(96, 2, random));
  c.g->attention("kv", 0,
                 {.q = q,
                  .row_sequence = c.indices(kRows, {0, 1, 0, 1, 1, 0}),
                  .limits = c.indices(kRows, {20, 9, 4, 1, 6, 19}),
                  .page_indptr = c.indices(Dim::symbol("batch") + 1, {0, 2, 3}),
                  .page_ids = c.indices(Dim::symbol("pages"), {2, 0, 3})},
                 {.heads = 2, .scale = 0.35});
  c.rule.tolerance = attention_error(20, 8, 6, 1);
}

// Peaked, flat and tied rows, sharp and flat temperatures.
TEST_F(Gpu, Softmax) {
  for (int64_t n : {1, 18, 260, 4100}) {
    std::mt19937 random(21);
    OpCase& c = add(str("softmax of ", n), {{"rows", 5}});
    std::vector<float> x = random_floats(5 * n, 5, random);
    x[0] = 30;
    if (n > 1)
      x[size_t(n) + 1] = NAN, x[size_t(2 * n)] = x[size_t(2 * n + 1)] = 40, x[size_t(3 * n)] = INFINITY,
                    x[size_t(4 * n)] = -INFINITY;
    c.g->op("softmax",
            {c.matrix(kRows, n, x), c.matrix(kRows, 3, {1, 0, 0, 0.5f, 0, 0, 0, 0, 0, 1, 0, 0, 1e4f, 0, 0})});
    // Exponents, up to 1e4 times 60, are off by 2^-23 of themselves; where the result is not tiny they are
    // below 20.
    c.rule.tolerance = (20 + double(n)) * 4 * kEps;
  }
}

// A row of probabilities: random ones, with ties, sharp, flat, of weights that differ by one, of equal powers
// of two.
std::vector<float> probabilities(int64_t n, int64_t kind, std::mt19937& random) {
  std::vector<float> row = random_floats(n, 4, random);
  if (kind == 1)
    for (float& x : row) x = std::floor(x);
  if (kind < 4) {
    softmax(row, kind == 2 ? 0 : kind == 3 ? 1e-3f : 1);
    return row;
  }
  const int64_t kept = int64_t{1} << static_cast<int>(std::log2(double(n)));
  for (int64_t i = 0; i < n; ++i)
    row[size_t(i)] = kind == 4  ? std::floor(kDrawOne / float(n) * 0.99997f + float(random() % 3)) / kDrawOne
                     : i < kept ? 1 / float(kept)
                                : 0;
  return row;
}

// Every kind of row at every edge of top_p and of the random number.
TEST_F(Gpu, Sample) {
  const float kTops[] = {0.5f, 0.9f, 0, 0.01f, 0.99998f, 1, 0.25f};
  for (int64_t n : {1, 18, 260, 4100}) {
    std::mt19937 random(22);
    std::vector<float> p, settings;
    const int64_t rows = n < 100 ? (kOnDevices ? 126 : 42) : n < 1000 ? 12 : 2;
    for (int64_t r = 0; r < rows; ++r) {
      const std::vector<float> row = probabilities(n, (r + 4) % 6, random);
      p.insert(p.end(), row.begin(), row.end());
      float uniform = float(random() % (1 << 24)) / (1 << 24);
      settings.insert(settings.end(), {1, kTops[r % 7], r % 5 == 3 ? 1.0f : r % 5 == 1 ? 0.0f : uniform});
    }
    OpCase& c = add(str("sample of ", n), {{"rows", rows}});
    c.g->op("sample", {c.matrix(kRows, n, p), c.matrix(kRows, 3, settings)});
  }
}

TEST_F(Gpu, CacheOps) {
  for (DType dtype : {DType::kF32, DType::kF16})
    for (int64_t dim : {24, 20, 10}) {
      std::mt19937 random(12);
      OpCase& c = add(str("kv_append to ", short_name(dtype), ", heads of ", dim), {{"rows", 3}});
      c.state(graph::PagedState::of_heads("kv", 2, 2, dim, 16, dtype), 4);
      graph::Value* k = c.matrix(kRows, 2 * dim, random_floats(6 * dim, 2, random), 3 * dim + 18, 10);
      c.g->kv_append("kv", 1, k, c.matrix(kRows, 2 * dim, random_floats(6 * dim, 2, random)),
                     c.indices(kRows, {15, 16, 63}));
      for (int64_t rotary : {16, 24, 20, 4}) {
        if (rotary > dim) continue;
        OpCase& r =
            add(str("rope_append to ", short_name(dtype), " of ", rotary, " of ", dim), {{"rows", 3}});
        r.state(graph::PagedState::of_heads("kv", 2, 2, dim, 16, dtype), 4);
        graph::Value* qkv = r.matrix(kRows, 8 * dim, random_floats(3 * 8 * dim, 2, random));
        graph::Value* factors = r.matrix(kRows, rotary, random_floats(3 * rotary, 1, random));
        r.g->op("rope_append", {qkv, factors, r.indices(kRows, {3, 32, 47})},
                {{"heads", int64_t{4}},
                 {"kv_heads", int64_t{2}},
                 {"head_dim", dim},
                 {"rotary_dim", rotary},
                 {"layer", int64_t{1}}},
                "kv");
        // f16 keys: the f32 results differ by a rounding, which may tip the rounding to f16.
        r.rule.tolerance = elementwise_error(4) + (dtype == DType::kF16 ? 2 * 4 * rounding(dtype) : 0);
      }
    }
  std::mt19937 random(14);
  OpCase& c = add("copy_pages", {{"rows", 2}});
  c.state(graph::PagedState::of_heads("kv", 3, 2, 5, 16, DType::kF16), 6);
  for (int64_t layer = 0; layer < 3; ++layer) fill_sequence(c.states["kv"], layer, {0, 3}, 32, random);
  c.g->op("copy_pages", {c.indices(kRows, {0, 3}), c.indices(kRows, {5, 1})}, {}, "kv");
}

}  // namespace
}  // namespace mlc::testing
