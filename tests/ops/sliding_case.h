// Attention over a sliding window as a case of any suite: sequences that slid, with every slot that holds no
// live token NaN, dropped ones in kept pages included.
#pragma once

#include "ops/tolerance.h"
#include "runtime/sequences/page_pool.h"
#include "support/op_batch.h"
#include "support/toy_graph.h"

namespace mlc::testing {

constexpr int64_t kPage = 16, kSlidingPool = 64;

struct SlidingShape {
  DType dtype = DType::kF32;
  int64_t heads = 6, kv_heads = 2, head_dim = 16, rotary_dim = 16;
  bool interleaved = false;
  bool one_row = false;    // of one sequence, the last
  int64_t part_pages = 0;  // > 0: attention_part
  int64_t limited = 0;     // > 0: attribute `window`, beside the rolling one
};

// What a cache keeps of a head.
inline void round_head(DType dtype, std::vector<float>& head) {
  if (dtype != DType::kI8) return round_floats(dtype, head);
  std::vector<int32_t> codes(head.size());
  float scale = graph::quantize_group(head.data(), int64_t(head.size()), codes.data());
  for (size_t d = 0; d < head.size(); ++d) head[d] = float(codes[d]) * scale;
}

// Cosines and sines of rows 0..n-1, with frequencies of no particular origin.
inline std::vector<float> make_factors(int64_t n, int64_t rotary_dim) {
  std::vector<float> factors;
  for (int64_t i = 0; i < n; ++i)
    for (bool sine : {false, true})
      for (int64_t d = 0; d < rotary_dim / 2; ++d) {
        double angle = double(i) / double(1 + 3 * d);
        factors.push_back(static_cast<float>(sine ? std::sin(angle) : std::cos(angle)));
      }
  return factors;
}

// The state of sequences after steps of `step` rows, the last step's rows not slid yet.
class Slid {
 public:
  Slid(graph::HostState& state, int64_t window, int64_t sinks, const std::vector<int64_t>& lengths,
       int64_t step)
      : state_(state),
        pool_({.pages = state.pages, .page_size = kPage, .sliding = {window, sinks}, .shuffle_seed = 9}) {
    std::vector<runtime::StateCopy> copies;
    for (size_t s = 0; s < lengths.size(); ++s) {
      runtime::BlockTable table = pool_.make();
      for (int64_t done = 0; done < lengths[s]; done += step) {
        pool_.trim(table, {});
        pool_.append(table, std::min(step, lengths[s] - done), copies);
      }
      describe(table, static_cast<int32_t>(s));
    }
  }

  std::vector<int32_t> sequence, limits, indptr = {0}, ids, skip_begin, skip_count;
  int64_t longest = 0;

 private:
  void describe(const runtime::BlockTable& table, int32_t s) {
    const int64_t length = table.length;
    longest = std::max(longest, length);
    for (int64_t t = 0; t < length; ++t) fill(pool_.slot(table, t));
    for (int64_t row : {int64_t{0}, length / 3, length - 2, length - 1}) {
      if (row < 0) continue;
      sequence.push_back(s);
      limits.push_back(static_cast<int32_t>(row) + 1);
    }
    for (int32_t page : table.pages) ids.push_back(page);
    indptr.push_back(static_cast<int32_t>(ids.size()));
    skip_begin.push_back(static_cast<int32_t>(pool_.limits().sliding.sinks));
    skip_count.push_back(static_cast<int32_t>(table.skip));
  }

  void fill(int64_t slot) {
    const graph::PagedState& c = state_.cache;
    for (int64_t h = 0; h < 2 * c.kv_heads; ++h) {
      int64_t at = (state_.pages + slot / kPage) * c.page_elements() + (h * kPage + slot % kPage) * c.key_dim;
      std::vector<float> values = random_floats(c.key_dim, 1, random_);
      round_head(c.dtype, values);
      std::copy(values.begin(), values.end(), state_.values.begin() + at);
    }
  }

  graph::HostState& state_;
  runtime::PagePool pool_;
  std::mt19937 random_{21};
};

// Attention of sequences of several lengths over a window with sinks, made by add(label, dims); none where q
// has one row.
template <typename Add>
void add_sliding_case(const Add& add, const SlidingShape& shape, int64_t window, int64_t sinks,
                      int64_t step) {
  const std::vector<int64_t> lengths = shape.one_row
                                           ? std::vector<int64_t>{100}
                                           : std::vector<int64_t>{1, window, window + 1, 3 * kPage + 2, 100};
  graph::PagedState cache =
      graph::PagedState::of_heads("kv", 2, shape.kv_heads, shape.head_dim, kPage, shape.dtype);
  graph::HostState plan{
      cache, kSlidingPool,
      std::vector<float>(static_cast<size_t>(2 * kSlidingPool * cache.page_elements()), NAN)};
  Slid slid(plan, window, sinks, lengths, step);
  if (shape.one_row) slid.sequence = {slid.sequence.back()}, slid.limits = {slid.limits.back()};
  const int64_t rows = static_cast<int64_t>(slid.limits.size()), pages = int64_t(slid.ids.size());
  OpCase& c = add(
      str(shape.part_pages ? "parts of a " : "", "window ", window, ", ", sinks, " sinks, steps of ", step),
      std::map<std::string, int64_t>{{"rows", rows}, {"batch", int64_t(lengths.size())}, {"pages", pages}});
  if (shape.one_row) c.options.min_rows = c.options.max_rows = 1;
  c.state(cache, kSlidingPool);
  c.states["kv"].values = plan.values;
  std::mt19937 random(22);
  const Dim r = Dim::symbol("rows"), batch = Dim::symbol("batch");
  const int64_t width = shape.heads * shape.head_dim, keys = window + step;
  graph::Value* q = c.matrix(r, width, random_floats(rows * width, 2, random), width + 8, 8);
  std::vector<graph::Value*> inputs = {q,
                                       c.indices(r, slid.sequence),
                                       c.indices(r, slid.limits),
                                       c.indices(batch + 1, slid.indptr),
                                       c.indices(Dim::symbol("pages"), slid.ids),
                                       c.indices(batch, slid.skip_begin),
                                       c.indices(batch, slid.skip_count)};
  double scale = 1 / std::sqrt(double(shape.head_dim));
  graph::Attributes attributes = {{"layer", int64_t{1}}, {"heads", shape.heads}, {"scale", scale}};
  if (shape.rotary_dim > 0) {
    inputs.push_back(c.matrix(keys, shape.rotary_dim, make_factors(keys, shape.rotary_dim)));
    attributes["rotary_dim"] = shape.rotary_dim;
    if (shape.interleaved) attributes["interleaved"] = true;
  }
  if (shape.part_pages) attributes["part_pages"] = shape.part_pages;
  if (shape.limited) attributes["window"] = shape.limited;
  c.g->op(shape.part_pages ? "attention_part" : "attention", inputs, attributes, "kv");
  // |q| <= 2 and a rotated key's elements are at most sqrt(2), each with 3 more roundings; parts are sums,
  // not divided.
  const int64_t tokens = shape.part_pages ? shape.part_pages * kPage : slid.longest;
  c.rule.tolerance = attention_error(tokens, shape.head_dim + 3, 2 * 1.5 * double(shape.head_dim) * scale,
                                     shape.part_pages ? double(tokens) : 1);
  if (shape.dtype == DType::kI8)
    c.rule.tolerance += coded_attention_error(tokens, 3 * double(shape.head_dim) * scale, 1);
  c.rule.relative = shape.part_pages > 0;
}

// Rows of a window that drops nothing: the last `rows` of one sequence of `length` tokens, or with
// `sequences` > 1 the last of each, which are of different lengths. Pages that no row sees are NaN.
struct WindowShape {
  DType dtype = DType::kF32;
  int64_t heads = 6, kv_heads = 2, head_dim = 16;
  int64_t window = 20, length = 70, rows = 1, sequences = 1, max_rows = 0;
  int64_t part_pages = 0;  // > 0: attention_part
};

template <typename Add>
void add_window_case(const Add& add, const WindowShape& shape) {
  graph::PagedState cache =
      graph::PagedState::of_heads("kv", 2, shape.kv_heads, shape.head_dim, kPage, shape.dtype);
  std::mt19937 random(23);
  std::vector<float> values(static_cast<size_t>(2 * kSlidingPool * cache.page_elements()), NAN);
  std::vector<int32_t> sequence, limits, indptr = {0}, ids;
  for (int64_t s = 0; s < shape.sequences; ++s) {
    const int64_t length = shape.length - 7 * s,
                  first = std::max<int64_t>(0, length - shape.rows + 1 - shape.window);
    for (int64_t page = 0; page < (length + kPage - 1) / kPage; ++page) {
      ids.push_back(static_cast<int32_t>(int64_t(ids.size()) * 5 % kSlidingPool));
      for (int64_t i = 0; i < 2 * cache.kv_heads * kPage; ++i) {
        if (page < first / kPage || page * kPage + i % kPage >= length) continue;
        std::vector<float> head = random_floats(cache.key_dim, 1, random);
        round_head(cache.dtype, head);
        std::copy(head.begin(), head.end(),
                  values.begin() + (kSlidingPool + ids.back()) * cache.page_elements() + i * cache.key_dim);
      }
    }
    indptr.push_back(static_cast<int32_t>(ids.size()));
    for (int64_t r = 0; r < shape.rows; ++r) {
      sequence.push_back(static_cast<int32_t>(s));
      limits.push_back(static_cast<int32_t>(length - shape.rows + 1 + r));
    }
  }
  const auto rows = static_cast<int64_t>(limits.size()), pages = static_cast<int64_t>(ids.size());
  OpCase& c =
      add(str(shape.part_pages ? "parts of a " : "", "layer's window ", shape.window, " over ", shape.length,
              " tokens of ", short_name(shape.dtype), ", ", shape.sequences, " x ", shape.rows, " rows"),
          std::map<std::string, int64_t>{{"rows", rows}, {"batch", shape.sequences}, {"pages", pages}});
  c.options.min_rows = shape.max_rows == 1 ? 1 : 0;
  c.options.max_rows = shape.max_rows;
  c.state(cache, kSlidingPool);
  c.states["kv"].values = values;
  const Dim r = Dim::symbol("rows");
  const int64_t columns = shape.heads * shape.head_dim;
  const double scale = 1 / std::sqrt(double(shape.head_dim));
  graph::Attributes attributes = {
      {"layer", int64_t{1}}, {"heads", shape.heads}, {"scale", scale}, {"window", shape.window}};
  if (shape.part_pages) attributes["part_pages"] = shape.part_pages;
  c.g->op(shape.part_pages ? "attention_part" : "attention",
          {c.matrix(r, columns, random_floats(rows * columns, 2, random)), c.indices(r, sequence),
           c.indices(r, limits), c.indices(Dim::symbol("batch") + 1, indptr),
           c.indices(Dim::symbol("pages"), ids)},
          attributes, "kv");
  const int64_t tokens = shape.part_pages ? shape.part_pages * kPage : shape.window;
  c.rule.tolerance = attention_error(tokens, shape.head_dim, 2 * double(shape.head_dim) * scale,
                                     shape.part_pages ? double(tokens) : 1);
  if (shape.dtype == DType::kI8)
    c.rule.tolerance +=
        coded_attention_error(shape.part_pages ? 1 : tokens, 2 * double(shape.head_dim) * scale,
                              shape.part_pages ? double(tokens) : 1);
  c.rule.relative = shape.part_pages > 0;
}

// All forms of a kernel: one row, few, many, parts; windows that begin inside of a page, a span or a part.
template <typename Add>
void add_window_cases(const Add& add, DType dtype, const std::vector<int64_t>& windows) {
  for (int64_t window : windows) {
    WindowShape shape{.dtype = dtype, .window = window, .length = 150};
    shape.max_rows = 1;
    add_window_case(add, shape);
    shape.part_pages = 8;
    add_window_case(add, shape);
    shape.part_pages = shape.max_rows = 0;
    shape.rows = 37;
    add_window_case(add, shape);
    shape.rows = shape.sequences = 3, shape.max_rows = 16;
    add_window_case(add, shape);
  }
}

}  // namespace mlc::testing
