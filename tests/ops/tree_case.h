// Cases of attention whose rows are trees, of which each row sees its ancestors alone, for CPUs and GPUs.
#pragma once

#include <algorithm>

#include "graph/ops/cache.h"
#include "ops/expert_case.h"
#include "ops/sliding_case.h"

namespace mlc::testing {

struct TreeHeads {
  int64_t query, kv, dim;
};

// A tree of rows: [i] the row that row i follows, -1 the text before them. Its masks as attention's operand.
inline std::vector<int32_t> tree_masks(const std::vector<int>& parents) {
  std::vector<int32_t> masks;
  for (int i = 0; i < static_cast<int>(parents.size()); ++i) {
    std::vector<bool> seen(parents.size());
    for (int at = parents[size_t(i)]; at >= 0; at = parents[size_t(at)]) seen[size_t(at)] = true;
    int32_t mask = 0;
    for (int other = 0; other < i; ++other)
      if (!seen[size_t(other)]) mask |= 1 << (i - other);
    masks.push_back(mask);
  }
  return masks;
}

// Every row follows one of those before it, or the text.
inline std::vector<int> random_tree(int rows, std::mt19937& random) {
  std::vector<int> parents;
  for (int i = 0; i < rows; ++i) parents.push_back(static_cast<int>(random() % unsigned(i + 1)) - 1);
  return parents;
}

struct TreeCase {
  DType dtype = DType::kF32;
  TreeHeads heads = {6, 2, 16};
  std::vector<int64_t> texts;  // tokens before each sequence's tree
  int rows = 31;               // of each tree
  int64_t max_rows = 0, window = 0;
  bool sinks = false;
};

inline void add_tree(const AddCase& add, const TreeCase& t) {
  constexpr int64_t kPool = 29;
  std::mt19937 random(7);
  std::vector<int32_t> sequence, limits, masks, indptr = {0}, ids;
  for (size_t s = 0; s < t.texts.size(); ++s) {
    for (int64_t p = 0; p < (t.texts[s] + t.rows + 15) / 16; ++p)
      ids.push_back(static_cast<int32_t>((ids.size() * 5 + 3) % kPool));
    indptr.push_back(static_cast<int32_t>(ids.size()));
    for (int32_t mask : tree_masks(random_tree(t.rows, random))) {
      sequence.push_back(static_cast<int32_t>(s));
      limits.push_back(static_cast<int32_t>(t.texts[s]) +
                       static_cast<int32_t>(masks.size() % size_t(t.rows)) + 1);
      masks.push_back(mask);
    }
  }
  const auto rows = static_cast<int64_t>(masks.size()), pages = static_cast<int64_t>(ids.size());
  OpCase& c = add(str("trees of ", t.rows, " rows after ", t.texts.size(), " texts over ",
                      short_name(t.dtype), ", heads of ", t.heads.dim, ", window ", t.window, ", at most ",
                      t.max_rows, " rows", t.sinks ? ", with sinks" : ""),
                  {{"rows", rows}, {"batch", int64_t(t.texts.size())}, {"pages", pages}});
  c.options.min_rows = t.max_rows ? 2 : 0, c.options.max_rows = t.max_rows;
  c.state(graph::PagedState::of_heads("kv", 2, t.heads.kv, t.heads.dim, 16, t.dtype), kPool);
  for (size_t s = 0; s < t.texts.size(); ++s)
    for (int64_t at = 0; at < t.texts[s] + t.rows; ++at)
      for (int64_t h = 0; h < t.heads.kv; ++h)
        for (bool value : {false, true}) {
          std::vector<float> elements = random_floats(t.heads.dim, 1, random);
          round_head(t.dtype, elements);
          const int32_t page = ids[static_cast<size_t>(indptr[s] + at / 16)];
          std::ranges::copy(elements, graph::cached_head(c.states["kv"], 1, value, h, page * 16 + at % 16));
        }
  const Dim row = Dim::symbol("rows");
  const int64_t columns = t.heads.query * t.heads.dim;
  const double scale = 1 / std::sqrt(double(t.heads.dim)), score = 2 * double(t.heads.dim) * scale;
  std::vector<float> sinks;
  for (int64_t h = 0; h < t.heads.query; ++h) sinks.push_back(static_cast<float>(h) - 2);
  graph::Value* q = c.matrix(row, columns, random_floats(rows * columns, 2, random), columns + 8, 8);
  c.g->attention("kv", 1,
                 {.q = q,
                  .row_sequence = c.indices(row, sequence),
                  .limits = c.indices(row, limits),
                  .page_indptr = c.indices(Dim::symbol("batch") + 1, indptr),
                  .page_ids = c.indices(Dim::symbol("pages"), ids),
                  .mask = c.indices(row, masks),
                  .sinks = t.sinks ? c.parameter(DType::kF16, {t.heads.query}, sinks) : nullptr},
                 {.heads = t.heads.query, .scale = scale, .window = t.window});
  const int64_t longest = *std::ranges::max_element(t.texts) + t.rows;
  c.rule.tolerance = attention_error(longest, t.heads.dim, score, 1);
  if (t.dtype == DType::kI8) c.rule.tolerance += coded_attention_error(longest, score, 1);
}

inline void add_trees(const AddCase& add, DType dtype) {
  add_tree(add, {.dtype = dtype, .texts = {0, 1, 40}});
  add_tree(add, {.dtype = dtype, .heads = {9, 3, 64}, .texts = {70}});
  add_tree(add, {.dtype = dtype, .heads = {4, 1, 20}, .texts = {33, 16}, .rows = 8, .max_rows = 16});
  add_tree(add, {.dtype = dtype, .texts = {90, 5}, .window = 40});
  add_tree(add, {.dtype = dtype, .texts = {150}, .rows = 12, .max_rows = 16, .window = 31});
  add_tree(add, {.dtype = dtype, .texts = {20}, .rows = 3, .max_rows = 16, .sinks = true});
}

}  // namespace mlc::testing
