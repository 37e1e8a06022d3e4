// Ops on the paged KV cache: kv_append, rope_append, copy_pages, attention, with unused slots full of NaN.
#include "ops/tolerance.h"
#include "support/op_case.h"
#include "support/toy_graph.h"

namespace mlc::testing {
namespace {

const Dim kRows = Dim::symbol("rows");

// Writes random keys and values for `length` tokens of a sequence whose pages are given, in one layer.
void fill_sequence(graph::HostState& s, int64_t layer, const std::vector<int32_t>& pages, int64_t length, std::mt19937& random) {
  const graph::KvCache& c = s.cache;
  for (int64_t t = 0; t < length; ++t)
    for (int64_t h = 0; h < 2 * c.kv_heads; ++h) {
      int64_t at = (layer * s.pages + pages[static_cast<size_t>(t / 16)]) * c.page_elements() + (h * 16 + t % 16) * c.head_dim;
      std::vector<float> values = random_floats(c.head_dim, 1, random);
      round_floats(c.dtype, values);
      std::copy(values.begin(), values.end(), s.values.begin() + at);
    }
}

void check_attention(DType dtype, int64_t heads, int64_t kv_heads, int64_t head_dim, const std::vector<int64_t>& lengths) {
  std::mt19937 random(11);
  int64_t rows = 0, pages = 0;
  std::vector<int32_t> sequence, position, indptr = {0}, ids;
  for (size_t s = 0; s < lengths.size(); ++s) {
    int64_t count = (lengths[s] + 15) / 16;
    for (int64_t p = 0; p < count; ++p) ids.push_back(static_cast<int32_t>((pages + p) * 5 % 23));  // scattered, distinct
    pages += count;
    indptr.push_back(static_cast<int32_t>(pages));
    for (int64_t t : {lengths[s] - 1, lengths[s] / 2}) {  // the last token, and one in the middle
      sequence.push_back(static_cast<int32_t>(s));
      position.push_back(static_cast<int32_t>(t));
      ++rows;
    }
  }
  OpCase c({{"rows", rows}, {"batch", int64_t(lengths.size())}, {"pages", pages}});
  c.state({"kv", 2, kv_heads, head_dim, 16, dtype}, 23);
  for (size_t s = 0; s < lengths.size(); ++s)
    fill_sequence(c.states["kv"], 1, {ids.begin() + indptr[s], ids.begin() + indptr[s + 1]}, lengths[s], random);
  graph::Value* q = c.matrix(kRows, heads * head_dim, random_floats(rows * heads * head_dim, 2, random), heads * head_dim + 8, 8);
  double scale = 1 / std::sqrt(double(head_dim));
  c.g->attention("kv", 1, q, c.indices(kRows, sequence), c.indices(kRows, position),
                 c.indices(Dim::symbol("batch") + 1, indptr), c.indices(Dim::symbol("pages"), ids), heads, scale);
  int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  double tolerance = attention_error(longest, head_dim, 2 * double(head_dim) * scale, 1);
  c.run([&](float e, float a, int64_t i, const std::string&) { ASSERT_NEAR(e, a, tolerance) << "element " << i; });
}

TEST(Attention, RaggedBatches) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) check_attention(dtype, 6, 2, 16, {1, 16, 17, 50});
  check_attention(DType::kF32, 3, 3, 20, {33});
  check_attention(DType::kF16, 9, 3, 64, {15, 31});
  check_attention(DType::kF32, 5, 1, 8, {2});
}

TEST(Cache, Append) {
  for (DType dtype : {DType::kF32, DType::kF16}) {
    std::mt19937 random(12);
    OpCase c({{"rows", 3}});
    c.state({"kv", 2, 2, 20, 16, dtype}, 4);
    graph::Value* k = c.matrix(kRows, 40, random_floats(120, 2, random), 90, 10);
    c.g->kv_append("kv", 1, k, c.matrix(kRows, 40, random_floats(120, 2, random)), c.indices(kRows, {15, 16, 63}));
    c.run([](float e, float a, int64_t i, const std::string&) { ASSERT_EQ(e, a) << i; });
  }
}

TEST(Cache, RopeAppend) {
  for (DType dtype : {DType::kF32, DType::kF16}) {
    std::mt19937 random(13);
    OpCase c({{"rows", 3}});
    c.state({"kv", 2, 2, 24, 16, dtype}, 4);
    graph::Value* qkv = c.matrix(kRows, 8 * 24, random_floats(3 * 8 * 24, 2, random));
    graph::Value* factors = c.matrix(kRows, 16, random_floats(48, 1, random));
    c.g->op("rope_append", {qkv, factors, c.indices(kRows, {3, 32, 47})},
            {{"heads", int64_t{4}}, {"kv_heads", int64_t{2}}, {"head_dim", int64_t{24}}, {"rotary_dim", int64_t{16}}, {"layer", int64_t{1}}}, "kv");
    // f16 keys: the f32 results differ by a rounding, which may tip the rounding to f16.
    double tolerance = elementwise_error(4) + (dtype == DType::kF16 ? 2 * 4 * rounding(dtype) : 0);
    c.run([&](float e, float a, int64_t i, const std::string&) { ASSERT_NEAR(e, a, tolerance) << i; });
  }
}

TEST(Cache, CopyPages) {
  std::mt19937 random(14);
  OpCase c({{"rows", 2}});
  c.state({"kv", 3, 2, 5, 16, DType::kF16}, 6);
  for (int64_t layer = 0; layer < 3; ++layer) fill_sequence(c.states["kv"], layer, {0, 3}, 32, random);
  c.g->op("copy_pages", {c.indices(kRows, {0, 3}), c.indices(kRows, {5, 1})}, {}, "kv");
  c.run([](float e, float a, int64_t i, const std::string&) { ASSERT_EQ(e, a) << i; });
}

}  // namespace
}  // namespace mlc::testing
