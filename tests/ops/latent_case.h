// Cases of the ops of attention over a latent (arXiv:2405.04434) and over keys and values that differ in
// width, for CPUs and GPUs.
#pragma once

#include "graph/ops/cache.h"
#include "ops/expert_case.h"

namespace mlc::testing {

// Heads in a part of wider rows; the last `rest` of each follow as they are.
inline void add_head_matmuls(const AddCase& add, bool ragged) {
  struct Shape {
    int64_t rows, heads, n, k, rest;
    DType dtype;
  };
  std::vector<Shape> shapes = {{1, 4, 24, 16, 8, DType::kF16},  {1, 3, 12, 24, 0, DType::kF32},
                               {2, 4, 12, 24, 0, DType::kBF16}, {5, 2, 40, 36, 4, DType::kF16},
                               {17, 3, 8, 64, 0, DType::kF16},  {9, 1, 4, 8, 4, DType::kF32}};
  if (ragged) shapes.push_back({3, 5, 7, 33, 5, DType::kF16}), shapes.push_back({1, 2, 1, 1, 1, DType::kF32});
  for (const Shape& s : shapes) {
    std::mt19937 random(static_cast<unsigned>(s.rows * 31 + s.n));
    OpCase& c = add(str("head_matmul of ", s.rows, " rows x ", s.heads, " heads ", s.n, " x ", s.k, " + ",
                        s.rest, " ", short_name(s.dtype)),
                    {{"rows", s.rows}});
    const int64_t columns = s.heads * (s.k + s.rest);
    graph::Value* x =
        c.matrix(Dim::symbol("rows"), columns, random_floats(s.rows * columns, 2, random), columns + 4, 4);
    c.g->op("head_matmul",
            {x, c.parameter(s.dtype, {s.heads, s.n, s.k}, random_floats(s.heads * s.n * s.k, 1, random))});
    if (s.rows == 1) c.options.min_rows = c.options.max_rows = 1;
    c.rule.tolerance = dot_error(s.k, 2 * static_cast<double>(s.k));
  }
}

// Rotation of elements behind others.
inline void add_late_rotations(const AddCase& add) {
  for (bool interleaved : {false, true})
    for (auto [begin, rotary, behind] :
         {std::tuple<int64_t, int64_t, int64_t>{16, 8, 0}, {2, 6, 4}, {4, 2, 2}}) {
      std::mt19937 random(6);
      const int64_t head = begin + rotary + behind;
      OpCase& c =
          add(str("rope of ", rotary, " from ", begin, interleaved ? " interleaved" : ""), {{"rows", 3}});
      graph::Value* x =
          c.matrix(Dim::symbol("rows"), 3 * head, random_floats(9 * head, 2, random), 3 * head + 4, 4);
      graph::Value* factors = c.matrix(Dim::symbol("rows"), rotary, random_floats(3 * rotary, 1, random));
      c.g->op("rope", {x, factors},
              {{"head_dim", head}, {"rotary_dim", rotary}, {"begin", begin}, {"interleaved", interleaved}});
      c.rule.tolerance = elementwise_error(4);
    }
}

struct CachedHeads {
  int64_t query, kv, key, value;
  bool latent = false;
  graph::PagedState state(DType dtype) const {
    graph::PagedState state = graph::PagedState::of_heads("kv", 2, kv, key, 16, dtype);
    state.value_dim = value, state.latent = latent;
    return state;
  }
  std::string text() const { return str(key, latent ? " latent " : " and ", value); }
};

// Random tokens 0 .. length - 1 of a sequence with these pages; all other slots stay NaN.
inline void fill_tokens(graph::HostState& s, const std::vector<int32_t>& pages, int64_t length,
                        std::mt19937& random) {
  for (int64_t t = 0; t < length; ++t)
    for (int64_t h = 0; h < s.cache.kv_heads; ++h)
      for (bool value : {false, true}) {
        if (value && s.cache.latent) continue;
        const int64_t n = value ? s.cache.value_dim : s.cache.key_dim;
        std::vector<float> elements = random_floats(n, 1, random);
        round_floats(s.cache.dtype, elements);
        std::ranges::copy(elements, graph::cached_head(s, 1, value, h, pages[size_t(t / 16)] * 16 + t % 16));
      }
}

// Sequences of these lengths, of which the last `tail` tokens ask. part_pages > 0: attention_part of one row.
inline void add_wide_attention(const AddCase& add, DType dtype, const CachedHeads& h,
                               const std::vector<int64_t>& lengths, int64_t tail = 2, int64_t max_rows = 0,
                               int64_t part_pages = 0) {
  constexpr int64_t kPool = 23;
  std::mt19937 random(11);
  std::vector<int32_t> sequence, limits, indptr = {0}, ids;
  for (size_t s = 0; s < lengths.size(); ++s) {
    const int64_t first = int64_t(ids.size()), count = (lengths[s] + 15) / 16 + (part_pages ? 3 : 0);
    for (int64_t p = first; p < first + count; ++p) ids.push_back(static_cast<int32_t>(p * 5 % kPool));
    indptr.push_back(static_cast<int32_t>(ids.size()));
    for (int64_t t = std::max<int64_t>(0, lengths[s] - tail); t < lengths[s]; ++t) {
      sequence.push_back(static_cast<int32_t>(s));
      limits.push_back(static_cast<int32_t>(t) + 1);
    }
  }
  const auto rows = static_cast<int64_t>(sequence.size()), pages = static_cast<int64_t>(ids.size());
  OpCase& c =
      add(str(part_pages ? "attention_part" : "attention", " over ", short_name(dtype), " of ",
              lengths.size(), " sequences, ", rows, " rows, heads of ", h.text(), " guard ", max_rows),
          {{"rows", rows}, {"batch", int64_t(lengths.size())}, {"pages", pages}});
  if (max_rows == 1) c.options.min_rows = 1;
  c.options.max_rows = max_rows;
  c.state(h.state(dtype), kPool);
  for (size_t s = 0; s < lengths.size(); ++s)
    fill_tokens(c.states["kv"], {ids.begin() + indptr[s], ids.begin() + indptr[s + 1]}, lengths[s], random);
  const int64_t columns = h.query * h.key;
  const double scale = 1 / std::sqrt(double(h.key));
  const Dim row = Dim::symbol("rows");
  graph::Value* q = c.matrix(row, columns, random_floats(rows * columns, 2, random), columns + 8, 8);
  graph::Attributes attributes = {{"layer", int64_t{1}}, {"heads", h.query}, {"scale", scale}};
  if (part_pages) attributes["part_pages"] = part_pages;
  c.g->op(part_pages ? "attention_part" : "attention",
          {q, c.indices(row, sequence), c.indices(row, limits), c.indices(Dim::symbol("batch") + 1, indptr),
           c.indices(Dim::symbol("pages"), ids)},
          attributes, "kv");
  const int64_t longest = part_pages ? part_pages * 16 : *std::max_element(lengths.begin(), lengths.end());
  // Sums of a part's tokens are not divided by their count, and the scores of parts without tokens are -3e38.
  c.rule.tolerance =
      attention_error(longest, h.key, 2 * double(h.key) * scale, part_pages ? double(longest) : 1);
  c.rule.relative = part_pages > 0;
}

// Of a latent of DeepSeek-V2's widths too, where `wide` says so.
inline void add_latent_attentions(const AddCase& add, DType dtype, bool wide) {
  for (const CachedHeads& h :
       {CachedHeads{4, 1, 32, 24, true}, {6, 2, 24, 16, true}, {6, 2, 24, 16}, {3, 1, 16, 32}}) {
    add_wide_attention(add, dtype, h, {1, 16, 17, 0, 33});
    add_wide_attention(add, dtype, h, {40}, 19);
    add_wide_attention(add, dtype, h, {70}, 1, 1);
    add_wide_attention(add, dtype, h, {h.latent ? 130 : 5}, 1, 1, 8);
  }
  if (wide) add_wide_attention(add, dtype, {16, 1, 576, 512, true}, {18}, 1, 1);
}

inline void add_latent_appends(const AddCase& add, DType dtype) {
  for (const CachedHeads& h :
       {CachedHeads{4, 1, 32, 24, true}, {4, 2, 40, 32, true}, {4, 2, 24, 16}, {4, 1, 8, 40}}) {
    std::mt19937 random(12);
    const Dim rows = Dim::symbol("rows");
    const int64_t first = h.kv * (h.latent ? h.value : h.key),
                  second = h.kv * (h.latent ? h.key - h.value : h.value);
    OpCase& c = add(str("kv_append to ", short_name(dtype), " of ", h.text()), {{"rows", 3}});
    c.state(h.state(dtype), 4);
    graph::Value* a = c.matrix(rows, first, random_floats(3 * first, 2, random), first + 20, 8);
    c.g->kv_append("kv", 1, a, c.matrix(rows, second, random_floats(3 * second, 2, random)),
                   c.indices(rows, {15, 16, 63}));
    if (h.latent) continue;
    OpCase& r = add(str("rope_append to ", short_name(dtype), " of ", h.text()), {{"rows", 3}});
    r.state(h.state(dtype), 4);
    const int64_t columns = (h.query + h.kv) * h.key + h.kv * h.value;
    graph::Value* qkv = r.matrix(rows, columns, random_floats(3 * columns, 2, random));
    r.g->op("rope_append",
            {qkv, r.matrix(rows, 8, random_floats(24, 1, random)), r.indices(rows, {3, 32, 47})},
            {{"heads", h.query},
             {"kv_heads", h.kv},
             {"head_dim", h.key},
             {"rotary_dim", int64_t{8}},
             {"layer", int64_t{1}}},
            "kv");
    // The f32 results differ by a rounding, which may tip that of a key.
    r.rule.tolerance = elementwise_error(4) + (dtype == DType::kF32 ? 0 : 2 * 4 * rounding(dtype));
  }
}

}  // namespace mlc::testing
