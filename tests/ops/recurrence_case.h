// Cases of the recurrences over slots, for CPUs and GPUs.
#pragma once

#include <functional>
#include <string>

#include "ops/tolerance.h"
#include "support/op_case.h"
#include "support/toy_graph.h"

namespace mlc::testing {

using AddRecurrence = std::function<OpCase&(const std::string&, const std::map<std::string, int64_t>&)>;

// The rows of each sequence of a step, and whether its slot is that of the empty text.
struct Text {
  int64_t rows;
  bool empty = false;
};

inline const std::vector<std::vector<Text>> kSteps = {{{1}}, {{1, true}}, {{5, true}, {1}, {3}, {2, true}}};

struct Recurrence {
  OpCase* op;
  graph::Value *row_indptr, *slot_ids;
  int64_t rows;
  std::mt19937 random;

  graph::Value* matrix(int64_t columns, double magnitude, int64_t stride = 0, int64_t offset = 0) {
    return op->matrix(Dim::symbol("rows"), columns, random_floats(rows * columns, magnitude, random), stride,
                      offset);
  }
  graph::Value* weights(DType dtype, std::vector<int64_t> shape, double magnitude) {
    int64_t count = 1;
    for (int64_t n : shape) count *= n;
    return op->parameter(dtype, std::move(shape), random_floats(count, magnitude, random));
  }
  // Appends the node over what it computes from.
  void add(const std::string& name, std::vector<graph::Value*> inputs) const {
    inputs.insert(inputs.end(), {row_indptr, slot_ids});
    op->g->op(name, std::move(inputs), {{"layer", int64_t{1}}, {"part", std::string("it")}}, "s");
  }
};

// A state of two layers whose part "it" lies between two others. Slots of no sequence hold NaN, as do those
// of the other layer and the other parts.
inline Recurrence add_recurrence(const AddRecurrence& add, const std::string& label, int64_t elements,
                                 const std::vector<Text>& step,
                                 const std::function<float(int64_t element, float random)>& content) {
  int64_t rows = 0;
  std::vector<int32_t> row_indptr = {0}, slot_ids;
  for (const Text& text : step) {
    rows += text.rows;
    row_indptr.push_back(static_cast<int32_t>(rows));
    slot_ids.push_back(static_cast<int32_t>((slot_ids.size() * 3 + 2) % 7));  // of 7 slots
  }
  const Dim batch = Dim::symbol("batch");
  OpCase& c = add(str(label, ", ", step.size(), " sequences, ", rows, " rows"),
                  {{"rows", rows}, {"batch", static_cast<int64_t>(step.size())}});
  if (rows == 1) c.options.max_rows = 1;
  graph::SlotState state{"s", 2, {{"before", 4}, {"it", elements}, {"after", 8}}};
  c.slot_state(state, 7);
  Recurrence r{&c, nullptr, nullptr, rows, std::mt19937(static_cast<unsigned>(rows * 131 + elements))};
  const std::vector<float> values = random_floats(elements, 1, r.random);
  for (size_t s = 0; s < step.size(); ++s) {
    float* part = c.states["s"].values.data() + (7 + slot_ids[s]) * state.slot_elements() + 4;
    for (int64_t i = 0; i < elements; ++i)
      part[i] = step[s].empty ? 0 : content(i, values[static_cast<size_t>(i)]);
  }
  r.row_indptr = c.indices(batch + 1, row_indptr), r.slot_ids = c.indices(batch, slot_ids);
  return r;
}

inline void add_token_shifts(const AddRecurrence& add) {
  for (int64_t n : {4, 72, 256})
    for (const std::vector<Text>& step : kSteps) {
      Recurrence r =
          add_recurrence(add, str("token_shift of ", n), n, step, [](int64_t, float x) { return x; });
      r.add("token_shift", {r.matrix(n, 3, n + 8, 4)});
    }
}

// Keys up to `magnitude`: their powers leave f32 by far.
inline void add_wkv4s(const AddRecurrence& add) {
  for (double magnitude : {1.0, 200.0})
    for (int64_t n : {8, 136})
      for (const std::vector<Text>& step : kSteps) {
        Recurrence r =
            add_recurrence(add, str("wkv4 of ", n, " x ", magnitude), 3 * n, step, [&](int64_t i, float x) {
              return i < n ? x : i < 2 * n ? 1 + std::fabs(x) : x * static_cast<float>(magnitude);
            });
        graph::Value *k = r.matrix(n, magnitude), *v = r.matrix(n, 1, n + 4, 4);
        r.add("wkv4", {k, v, r.weights(DType::kF32, {n}, 3), r.weights(DType::kF16, {n}, magnitude)});
        r.op->rule = {.tolerance = recurrent_average_error(r.rows, 4 * magnitude), .relative = true};
      }
}

inline OpCase& add_wkv5(const AddRecurrence& add, int64_t n, const std::vector<Text>& step) {
  Recurrence r =
      add_recurrence(add, str("wkv5 of 3 heads of ", n), 3 * n * n, step, [](int64_t, float x) { return x; });
  std::vector<graph::Value*> inputs = {r.matrix(3 * n, 1), r.matrix(3 * n, 1),
                                       r.matrix(3 * n, 1, 3 * n + 4, 4)};
  inputs.push_back(r.weights(DType::kF32, {3, n}, 1));
  inputs.push_back(r.weights(DType::kF16, {3, n}, 1));
  r.add("wkv5", inputs);
  r.op->rule.tolerance = recurrent_sum_error(r.rows, n);
  return *r.op;
}

inline void add_wkv5s(const AddRecurrence& add) {
  for (int64_t n : {4, 20, 64})
    for (const std::vector<Text>& step : kSteps) add_wkv5(add, n, step);
}

inline void add_copy_slots(const AddRecurrence& add) {
  for (int64_t count : {1, 3}) {
    OpCase& c = add(str("copy_slots of ", count), {{"copies", count}});
    c.slot_state({"s", 3, {{"a", 8}, {"b", 20}}}, 9);
    std::mt19937 random(5);
    c.states["s"].values = random_floats(3 * 9 * 28, 1, random);
    const Dim copies = Dim::symbol("copies");
    const std::vector<int32_t> from = {4, 0, 4}, to = {7, 1, 2};
    c.g->op("copy_slots",
            {c.indices(copies, {from.begin(), from.begin() + count}),
             c.indices(copies, {to.begin(), to.begin() + count})},
            {}, "s");
  }
}

inline void add_group_norms(const AddRecurrence& add) {
  for (int64_t n : {15, 64})
    for (int64_t rows : {1, 3}) {
      std::mt19937 random(5);
      OpCase& c = add(str("layer_norm of ", rows, " x 3 groups of ", n), {{"rows", rows}});
      graph::Value* x =
          c.matrix(Dim::symbol("rows"), 3 * n, random_floats(rows * 3 * n, 3, random), 4 * n + 4, n);
      c.g->op("layer_norm",
              {x, c.parameter(DType::kF32, {3 * n}, random_floats(3 * n, 1, random)),
               c.parameter(DType::kF32, {3 * n}, random_floats(3 * n, 1, random))},
              {{"eps", 1e-5}, {"groups", int64_t{3}}});
      c.rule = {.tolerance = 4 * norm_error(n, 2 * std::sqrt(double(n))), .relative = true};
    }
}

}  // namespace mlc::testing
