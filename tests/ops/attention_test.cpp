// Ops on the paged KV cache: kv_append, rope_append, copy_pages, attention, with unused slots full of NaN.
#include "ops/tolerance.h"
#include "support/op_batch.h"
#include "support/toy_graph.h"

namespace mlc::testing {
namespace {

const Dim kRows = Dim::symbol("rows");

// Writes random keys and values for `length` tokens of a sequence whose pages are given, in one layer.
void fill_sequence(graph::HostState& s, int64_t layer, const std::vector<int32_t>& pages, int64_t length,
                   std::mt19937& random) {
  const graph::KvCache& c = s.cache;
  for (int64_t t = 0; t < length; ++t)
    for (int64_t h = 0; h < 2 * c.kv_heads; ++h) {
      int64_t at = (layer * s.pages + pages[static_cast<size_t>(t / 16)]) * c.page_elements() +
                   (h * 16 + t % 16) * c.head_dim;
      std::vector<float> values = random_floats(c.head_dim, 1, random);
      round_floats(c.dtype, values);
      std::copy(values.begin(), values.end(), s.values.begin() + at);
    }
}

constexpr int64_t kPool = 23;  // pages

struct Heads {
  int64_t query, kv, dim;
};

// Sequences of these lengths; each that is not empty asks for its last token and one in the middle.
void add_attention(OpBatch& batch, DType dtype, const Heads& h, const std::vector<int64_t>& lengths) {
  std::mt19937 random(11);
  int64_t pages = 0;
  std::vector<int32_t> sequence, position, indptr = {0}, ids;
  for (size_t s = 0; s < lengths.size(); ++s) {
    int64_t count = (lengths[s] + 15) / 16;
    for (int64_t p = 0; p < count; ++p)
      ids.push_back(static_cast<int32_t>((pages + p) * 5 % kPool));  // scattered, distinct
    pages += count;
    indptr.push_back(static_cast<int32_t>(pages));
    if (lengths[s] == 0) continue;
    for (int64_t t : {lengths[s] - 1, lengths[s] / 2}) {
      sequence.push_back(static_cast<int32_t>(s));
      position.push_back(static_cast<int32_t>(t));
    }
  }
  ASSERT_LE(pages, kPool);
  auto rows = static_cast<int64_t>(sequence.size());
  OpCase& c = batch.add(
      str("attention over ", short_name(dtype), " of ", lengths.size(), " sequences, heads of ", h.dim),
      {{"rows", rows}, {"batch", int64_t(lengths.size())}, {"pages", pages}});
  c.state({"kv", 2, h.kv, h.dim, 16, dtype}, kPool);
  for (size_t s = 0; s < lengths.size(); ++s)
    fill_sequence(c.states["kv"], 1, {ids.begin() + indptr[s], ids.begin() + indptr[s + 1]}, lengths[s],
                  random);
  int64_t columns = h.query * h.dim;
  graph::Value* q = c.matrix(kRows, columns, random_floats(rows * columns, 2, random), columns + 8, 8);
  double scale = 1 / std::sqrt(double(h.dim));
  c.g->attention("kv", 1, q, c.indices(kRows, sequence), c.indices(kRows, position),
                 c.indices(Dim::symbol("batch") + 1, indptr), c.indices(Dim::symbol("pages"), ids), h.query,
                 scale);
  int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  c.rule.tolerance = attention_error(longest, h.dim, 2 * double(h.dim) * scale, 1);
}

using Attention = OpTest;
using Cache = OpTest;

TEST_F(Attention, OfEveryCacheType) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16})
    add_attention(batch, dtype, {6, 2, 16}, {1, 16, 17, 50});
}

TEST_F(Attention, HeadsOfOddSizes) {
  add_attention(batch, DType::kF32, {3, 3, 20}, {33});
  add_attention(batch, DType::kF16, {9, 3, 64}, {15, 31});
  add_attention(batch, DType::kF32, {5, 1, 8}, {2});
}

TEST_F(Attention, RaggedBatches) {
  add_attention(batch, DType::kF32, {4, 2, 8}, {16});
  add_attention(batch, DType::kF32, {4, 2, 8}, {15, 0, 17});  // a sequence without pages
  add_attention(batch, DType::kF32, {4, 2, 8}, {1, 2, 3, 0, 15, 16, 17, 31, 32, 8, 9, 1, 1, 4, 5, 33, 16});
  add_attention(batch, DType::kF32, {4, 2, 8}, {16 * kPool});  // every page of the pool
  add_attention(batch, DType::kF32, {4, 2, 8}, {16 * (kPool - 1), 1});
}

TEST_F(Cache, Append) {
  for (DType dtype : {DType::kF32, DType::kF16}) {
    std::mt19937 random(12);
    OpCase& c = batch.add(str("kv_append to ", short_name(dtype)), {{"rows", 3}});
    c.state({"kv", 2, 2, 20, 16, dtype}, 4);
    graph::Value* k = c.matrix(kRows, 40, random_floats(120, 2, random), 90, 10);
    c.g->kv_append("kv", 1, k, c.matrix(kRows, 40, random_floats(120, 2, random)),
                   c.indices(kRows, {15, 16, 63}));
  }
}

TEST_F(Cache, RopeAppend) {
  for (DType dtype : {DType::kF32, DType::kF16}) {
    std::mt19937 random(13);
    OpCase& c = batch.add(str("rope_append to ", short_name(dtype)), {{"rows", 3}});
    c.state({"kv", 2, 2, 24, 16, dtype}, 4);
    graph::Value* qkv = c.matrix(kRows, 8 * 24, random_floats(3 * 8 * 24, 2, random));
    graph::Value* factors = c.matrix(kRows, 16, random_floats(48, 1, random));
    c.g->op("rope_append", {qkv, factors, c.indices(kRows, {3, 32, 47})},
            {{"heads", int64_t{4}},
             {"kv_heads", int64_t{2}},
             {"head_dim", int64_t{24}},
             {"rotary_dim", int64_t{16}},
             {"layer", int64_t{1}}},
            "kv");
    // f16 keys: the f32 results differ by a rounding, which may tip the rounding to f16.
    c.rule.tolerance = elementwise_error(4) + (dtype == DType::kF16 ? 2 * 4 * rounding(dtype) : 0);
  }
}

TEST_F(Cache, CopyPages) {
  std::mt19937 random(14);
  OpCase& c = batch.add("copy_pages", {{"rows", 2}});
  c.state({"kv", 3, 2, 5, 16, DType::kF16}, 6);
  for (int64_t layer = 0; layer < 3; ++layer) fill_sequence(c.states["kv"], layer, {0, 3}, 32, random);
  c.g->op("copy_pages", {c.indices(kRows, {0, 3}), c.indices(kRows, {5, 1})}, {}, "kv");
}

}  // namespace
}  // namespace mlc::testing
