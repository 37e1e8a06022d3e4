// Cases of lora_shrink and lora_expand, for CPUs and GPUs.
#pragma once

#include <functional>
#include <string>

#include "graph/ops/lora.h"
#include "ops/tolerance.h"
#include "support/op_case.h"
#include "support/toy_graph.h"

namespace mlc::testing {

using AddLora = std::function<OpCase&(const std::string&, const std::map<std::string, int64_t>&)>;

inline constexpr int32_t kLoraStack = 3;  // adapters

// A stack of random matrices; the one that no row names is NaN.
inline graph::Value* lora_stack(OpCase& c, int64_t rows, int64_t columns, int32_t unused,
                                std::mt19937& random) {
  std::vector<float> values = random_floats(kLoraStack * rows * columns, 1, random);
  std::fill_n(values.begin() + unused * rows * columns, rows * columns, NAN);
  return c.parameter(DType::kF32, {kLoraStack, rows, columns}, std::move(values));
}

// Rows without an adapter, which may hold anything (NaN), beside rows of the first and last.
inline void add_lora_case(const AddLora& add, const std::string& op, int64_t inner, int64_t columns,
                          const std::vector<int32_t>& adapters, graph::Attributes attributes, int64_t parts) {
  const auto rows = static_cast<int64_t>(adapters.size());
  OpCase& c = add(str(op, " ", inner, " x ", columns, ", ", rows, " rows"), {{"rows", rows}});
  if (rows == 1) c.options.max_rows = 1;
  std::mt19937 random(static_cast<unsigned>(inner * 131 + columns + rows));
  const int64_t width = inner * parts;
  std::vector<float> x = random_floats(rows * width, 1, random);
  for (int64_t r = 0; r < rows; ++r)
    if (adapters[static_cast<size_t>(r)] < 0) std::fill_n(x.begin() + r * width, width, NAN);
  graph::Value* matrix = c.matrix(Dim::symbol("rows"), width, x, width + 8, 4);
  graph::Value* stack = lora_stack(c, inner, columns, 1, random);
  c.g->op(op, {matrix, stack, c.indices(Dim::symbol("rows"), adapters)}, std::move(attributes));
  c.rule.tolerance = dot_error(inner, static_cast<double>(inner));
}

inline const std::vector<std::vector<int32_t>> kLoraRows = {{-1}, {2}, {0, -1, 2, 2, -1, 0}};

inline void add_lora_shrinks(const AddLora& add) {
  for (const std::vector<int32_t>& adapters : kLoraRows)
    for (int64_t inputs : {1, 7, 96, 260})
      for (int64_t columns : {1, 6, 16, 24, 144})
        add_lora_case(add, "lora_shrink", inputs, columns, adapters, {}, 1);
}

inline void add_lora_expands(const AddLora& add) {
  for (const std::vector<int32_t>& adapters : kLoraRows)
    for (int64_t rank : {1, 5, 8}) {
      add_lora_case(add, "lora_expand", rank, 100, adapters, {}, 1);
      const std::pair<const char*, int64_t> fused[] = {{"96,48,48", 192}, {"10,3,3", 16}, {"400,400", 800}};
      for (const auto& [parts, columns] : fused)
        add_lora_case(add, "lora_expand", rank, columns, adapters, {{graph::kLoraParts, std::string(parts)}},
                      std::count(parts, parts + std::string_view(parts).size(), ',') + 1);
    }
}

}  // namespace mlc::testing
