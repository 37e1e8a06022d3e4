// Cases of the ops of attention over a latent (arXiv:2405.04434), for CPUs and GPUs.
#pragma once

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
         {std::tuple<int64_t, int64_t, int64_t>{16, 8, 0}, {2, 6, 4}, {4, 2, 1}}) {
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

}  // namespace mlc::testing
