// Ops on the paged KV cache: kv_append, rope_append, copy_pages, attention, with unused slots full of NaN.
#include "ops/sliding_case.h"

namespace mlc::testing {
namespace {

const Dim kRows = Dim::symbol("rows");

// Writes random keys and values for `length` tokens of a sequence whose pages are given, in one layer.
void fill_sequence(graph::HostState& s, int64_t layer, const std::vector<int32_t>& pages, int64_t length,
                   std::mt19937& random) {
  const graph::PagedState& c = s.cache;
  for (int64_t t = 0; t < length; ++t)
    for (int64_t h = 0; h < 2 * c.kv_heads; ++h) {
      int64_t at = (layer * s.pages + pages[static_cast<size_t>(t / 16)]) * c.page_elements() +
                   (h * 16 + t % 16) * c.key_dim;
      std::vector<float> values = random_floats(c.key_dim, 1, random);
      round_head(c.dtype, values);
      std::copy(values.begin(), values.end(), s.values.begin() + at);
    }
}

constexpr int64_t kPool = 23;  // pages

struct Heads {
  int64_t query, kv, dim;
};

// Of all sizes: below every score, among them, above all.
std::vector<float> sinks_of(int64_t heads) {
  constexpr float kSinks[] = {-2000, -3, 0.5, 2, 6, 30, 2000};
  std::vector<float> sinks;
  for (int64_t h = 0; h < heads; ++h) sinks.push_back(kSinks[h % 7]);
  return sinks;
}

// Sequences of these lengths; each that is not empty asks for its last token and one in the middle, or with
// max_rows == 1 the only one for its last. max_rows: of the body that the kernel is lowered for, 0 = any.
void add_attention(OpBatch& batch, DType dtype, const Heads& h, const std::vector<int64_t>& lengths,
                   int64_t max_rows = 0, double softcap = 0, bool sinks = false, double alibi = 0) {
  std::mt19937 random(11);
  int64_t pages = 0;
  std::vector<int32_t> sequence, limits, indptr = {0}, ids;
  for (size_t s = 0; s < lengths.size(); ++s) {
    int64_t count = (lengths[s] + 15) / 16;
    for (int64_t p = 0; p < count; ++p)
      ids.push_back(static_cast<int32_t>((pages + p) * 5 % kPool));  // scattered, distinct
    pages += count;
    indptr.push_back(static_cast<int32_t>(pages));
    if (lengths[s] == 0) continue;
    for (int64_t t : {lengths[s] - 1, lengths[s] / 2}) {
      if (max_rows == 1 && !sequence.empty()) break;
      sequence.push_back(static_cast<int32_t>(s));
      limits.push_back(static_cast<int32_t>(t) + 1);
    }
  }
  ASSERT_LE(pages, kPool);
  auto rows = static_cast<int64_t>(sequence.size());
  OpCase& c = batch.add(str("attention over ", short_name(dtype), " of ", lengths.size(),
                            " sequences, heads of ", h.dim, ", at most ", max_rows, " rows, capped at ",
                            softcap, sinks ? ", with sinks" : "", ", biased by ", alibi),
                        {{"rows", rows}, {"batch", int64_t(lengths.size())}, {"pages", pages}});
  c.options.min_rows = max_rows == 1 ? 1 : 0;
  c.options.max_rows = max_rows;
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
                  .sinks = sinks ? c.parameter(DType::kF16, {h.query}, sinks_of(h.query)) : nullptr},
                 {.heads = h.query, .scale = scale, .softcap = softcap, .alibi = alibi});
  int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  c.rule.tolerance = attention_error(longest, h.dim, 2 * double(h.dim) * scale, 1);
  if (dtype == DType::kI8) c.rule.tolerance += coded_attention_error(longest, 2 * double(h.dim) * scale, 1);
  if (alibi > 0) c.rule.tolerance += biased_attention_error(2 * double(h.dim) * scale, double(longest), 1);
}

using Attention = OpTest;
using Cache = OpTest;

TEST_F(Attention, OfEveryCacheType) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kI8})
    add_attention(batch, dtype, {6, 2, 16}, {1, 16, 17, 50});
}

TEST_F(Attention, HeadsOfOddSizes) {
  add_attention(batch, DType::kF32, {3, 3, 20}, {33});
  add_attention(batch, DType::kF16, {9, 3, 64}, {15, 31});
  add_attention(batch, DType::kF32, {5, 1, 8}, {2});
  for (const Heads& h : {Heads{3, 3, 20}, Heads{9, 3, 64}, Heads{5, 1, 6}})
    add_attention(batch, DType::kI8, h, {15, 33});
}

// |tanh'| <= 1: a capped score is no further off.
TEST_F(Attention, CappedScores) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kI8}) {
    add_attention(batch, dtype, {6, 2, 16}, {1, 17, 50}, 0, 1.5);
    add_attention(batch, dtype, {6, 2, 16}, {90}, 1, 0.5);
  }
}

// As many heads as a power of two, and some between.
TEST_F(Attention, BiasesByDistance) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kI8}) {
    add_attention(batch, dtype, {6, 2, 16}, {1, 17, 50}, 0, 0, false, 8);
    add_attention(batch, dtype, {8, 2, 16}, {90}, 1, 0, false, 4);
  }
}

TEST_F(Attention, Sinks) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kI8}) {
    add_attention(batch, dtype, {14, 2, 16}, {1, 17, 50}, 0, 0, true);
    add_attention(batch, dtype, {14, 2, 16}, {90}, 1, 0, true);
  }
}

TEST_F(Attention, RaggedBatches) {
  add_attention(batch, DType::kF32, {4, 2, 8}, {16});
  add_attention(batch, DType::kF32, {4, 2, 8}, {15, 0, 17});  // a sequence without pages
  add_attention(batch, DType::kF32, {4, 2, 8}, {1, 2, 3, 0, 15, 16, 17, 31, 32, 8, 9, 1, 1, 4, 5, 33, 16});
  add_attention(batch, DType::kF32, {4, 2, 8}, {16 * kPool});  // every page of the pool
  add_attention(batch, DType::kF32, {4, 2, 8}, {16 * (kPool - 1), 1});
}

TEST_F(Attention, BodiesOfFewRows) {
  for (int64_t length : {1, 16, 63, 64, 65, 200})
    for (DType dtype : {DType::kF16, DType::kI8}) add_attention(batch, dtype, {9, 3, 64}, {length}, 1);
  add_attention(batch, DType::kF32, {5, 1, 20}, {70}, 1);
  add_attention(batch, DType::kF16, {8, 1, 128}, {90}, 1);
  for (DType dtype : {DType::kF16, DType::kI8}) add_attention(batch, dtype, {9, 3, 64}, {130, 1, 64}, 16);
}

// Rows of one sequence in one call, across the borders of blocks, pages and spans.
TEST_F(Attention, ManyRowsOfOneSequence) {
  for (auto [heads, dtype] : {std::pair{Heads{9, 3, 64}, DType::kF16},
                              {Heads{2, 2, 20}, DType::kF32},
                              {Heads{9, 3, 64}, DType::kI8}}) {
    std::mt19937 random(15);
    constexpr int64_t kRowCount = 37, kBegin = 40, kLength = kBegin + kRowCount;
    std::vector<int32_t> sequence, limits, ids = {7, 3, 9, 1, 4};
    for (int64_t r = 0; r < kRowCount; ++r) {
      sequence.push_back(0);
      limits.push_back(static_cast<int32_t>(kBegin + r) + 1);
    }
    OpCase& c = batch.add(str("attention of 37 rows over ", short_name(dtype), ", heads of ", heads.dim),
                          {{"rows", kRowCount}, {"batch", 1}, {"pages", 5}});
    c.state(graph::PagedState::of_heads("kv", 2, heads.kv, heads.dim, 16, dtype), kPool);
    fill_sequence(c.states["kv"], 1, ids, kLength, random);
    int64_t columns = heads.query * heads.dim;
    double scale = 1 / std::sqrt(double(heads.dim));
    c.g->attention("kv", 1,
                   {.q = c.matrix(kRows, columns, random_floats(kRowCount * columns, 2, random)),
                    .row_sequence = c.indices(kRows, sequence),
                    .limits = c.indices(kRows, limits),
                    .page_indptr = c.indices(Dim::symbol("batch") + 1, {0, 5}),
                    .page_ids = c.indices(Dim::symbol("pages"), ids)},
                   {.heads = heads.query, .scale = scale});
    c.rule.tolerance = attention_error(kLength, heads.dim, 2 * double(heads.dim) * scale, 1);
    if (dtype == DType::kI8)
      c.rule.tolerance += coded_attention_error(kLength, 2 * double(heads.dim) * scale, 1);
  }
}

// One row of a sequence of `length` tokens in parts of some pages, some of them past its end.
TEST_F(Attention, Parts) {
  for (auto [h, dtype, part_pages] : {std::tuple{Heads{9, 3, 64}, DType::kF16, int64_t{4}},
                                      {Heads{4, 2, 20}, DType::kF32, int64_t{4}},
                                      {Heads{9, 3, 64}, DType::kI8, int64_t{4}},
                                      {Heads{9, 3, 64}, DType::kI8, int64_t{8}},
                                      {Heads{8, 1, 32}, DType::kI8, int64_t{16}}})
    for (int64_t length : {1, 64, 65, 200}) {
      if (part_pages > 4 && length < 65) continue;
      std::mt19937 random(16);
      std::vector<int32_t> ids;
      for (int32_t p = 0; p < 14; ++p) ids.push_back(p * 5 % int32_t{kPool});
      OpCase& c = batch.add(str("attention_part of ", part_pages, " pages of ", length, " tokens over ",
                                short_name(dtype), ", heads of ", h.dim),
                            {{"rows", 1}, {"batch", 1}, {"pages", 14}});
      c.state(graph::PagedState::of_heads("kv", 2, h.kv, h.dim, 16, dtype), kPool);
      fill_sequence(c.states["kv"], 1, ids, length, random);
      int64_t columns = h.query * h.dim;
      double scale = 1 / std::sqrt(double(h.dim));
      graph::Value* q = c.matrix(kRows, columns, random_floats(columns, 2, random), columns + 8, 8);
      c.g->op("attention_part",
              {q, c.indices(kRows, {0}), c.indices(kRows, {int32_t(length)}),
               c.indices(Dim::symbol("batch") + 1, {0, 14}), c.indices(Dim::symbol("pages"), ids)},
              {{"layer", int64_t{1}}, {"heads", h.query}, {"scale", scale}, {"part_pages", part_pages}},
              "kv");
      // Sums of a part's tokens are not divided by their count.
      const int64_t tokens = part_pages * 16;
      c.rule.tolerance = attention_error(tokens, h.dim, 2 * double(h.dim) * scale, double(tokens));
      if (dtype == DType::kI8)
        c.rule.tolerance += coded_attention_error(1, 2 * double(h.dim) * scale, double(tokens));
      c.rule.relative = true;  // the scores of parts without tokens are -3e38
    }
}

TEST_F(Attention, JoinedParts) {
  for (int64_t dim : {32, 64, 20, 80})
    for (int64_t pages : {1, 7, 40}) {
      std::mt19937 random(17);
      constexpr int64_t kHeads = 3;
      int64_t parts = (pages + 3) / 4;
      std::vector<float> values = random_floats(parts * kHeads * (dim + 2), 1, random);
      for (int64_t i = 0; i < parts * kHeads; ++i) {
        values[size_t((i + 1) * (dim + 2) - 1)] = 1 + float(i % 5);  // sums of weights
        if (i >= kHeads && i < 2 * kHeads) {                         // the second part has no tokens
          std::fill_n(values.begin() + i * (dim + 2), dim + 2, 0.0f);
          values[size_t(i * (dim + 2) + dim)] = -3e38f;
        }
      }
      for (auto [quantized, sinks] : {std::pair{false, false}, {false, true}, {true, false}, {true, true}}) {
        if (quantized && dim == 20) continue;
        OpCase& c = batch.add(str("attention_join of ", parts, " parts, heads of ", dim),
                              {{"rows", 1}, {"pages", pages}});
        graph::Attributes attributes = {{"heads", kHeads}};
        if (quantized) attributes["output"] = std::string(dim == 80 ? "q8g40" : "q8g32");
        graph::Value* in = c.matrix(ceildiv(Dim::symbol("pages"), 4), kHeads * (dim + 2), values);
        std::vector<graph::Value*> inputs = {in, c.indices(kRows, {0})};
        // Nothing is left beside a sink of 2000, and codes of nothing are of no matter.
        if (sinks)
          inputs.push_back(c.parameter(DType::kF32, {kHeads}, {-2000, 0.5, quantized ? 20.0f : 2000.0f}));
        c.g->op("attention_join", inputs, attributes);
        c.rule.tolerance = 2 * dot_error(parts, double(parts)) + 16 * kEps;
        c.rule.codes = quantized ? 1 : 0;  // a value near the middle of two codes
      }
    }
}

TEST_F(Cache, Append) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kI8}) {
    std::mt19937 random(12);
    OpCase& c = batch.add(str("kv_append to ", short_name(dtype)), {{"rows", 3}});
    c.state(graph::PagedState::of_heads("kv", 2, 2, 20, 16, dtype), 4);
    graph::Value* k = c.matrix(kRows, 40, random_floats(120, 2, random), 90, 10);
    c.g->kv_append("kv", 1, k, c.matrix(kRows, 40, random_floats(120, 2, random)),
                   c.indices(kRows, {15, 16, 63}));
  }
}

TEST_F(Cache, RopeAppend) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kI8}) {
    std::mt19937 random(13);
    OpCase& c = batch.add(str("rope_append to ", short_name(dtype)), {{"rows", 3}});
    c.state(graph::PagedState::of_heads("kv", 2, 2, 24, 16, dtype), 4);
    graph::Value* qkv = c.matrix(kRows, 8 * 24, random_floats(3 * 8 * 24, 2, random));
    graph::Value* factors = c.matrix(kRows, 16, random_floats(48, 1, random));
    c.g->op("rope_append", {qkv, factors, c.indices(kRows, {3, 32, 47})},
            {{"heads", int64_t{4}},
             {"kv_heads", int64_t{2}},
             {"head_dim", int64_t{24}},
             {"rotary_dim", int64_t{16}},
             {"layer", int64_t{1}}},
            "kv");
    // The f32 results differ by a rounding, which may tip that of a key to f16 or to a code, a step of
    // largest / 127.
    c.rule.tolerance = elementwise_error(4);
    if (dtype == DType::kF16) c.rule.tolerance += 2 * 4 * rounding(dtype);
    if (dtype == DType::kI8) c.rule.tolerance += 4.0 / 127;
  }
}

TEST_F(Cache, CopyPages) {
  for (DType dtype : {DType::kF16, DType::kI8}) {
    std::mt19937 random(14);
    OpCase& c = batch.add(str("copy_pages of ", short_name(dtype)), {{"rows", 2}});
    c.state(graph::PagedState::of_heads("kv", 3, 2, dtype == DType::kI8 ? 6 : 5, 16, dtype), 6);
    for (int64_t layer = 0; layer < 3; ++layer) fill_sequence(c.states["kv"], layer, {0, 3}, 32, random);
    c.g->op("copy_pages", {c.indices(kRows, {0, 3}), c.indices(kRows, {5, 1})}, {}, "kv");
    // The scale found anew from largest code x scale is a rounding off.
    if (dtype == DType::kI8) c.rule.tolerance = 4 * kEps;
  }
}

}  // namespace
}  // namespace mlc::testing
