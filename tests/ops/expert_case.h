// Cases of the ops of a mixture of experts, for CPUs and GPUs.
#pragma once

#include <functional>
#include <string>

#include "ops/tolerance.h"
#include "support/op_case.h"
#include "support/toy_graph.h"

namespace mlc::testing {

using AddCase = std::function<OpCase&(const std::string&, const std::map<std::string, int64_t>&)>;

struct ExpertShape {
  int64_t rows, per_row, experts, n, k;
};

// Experts of `rows` x `per_row` slots, each different in its row; the last of several experts is never
// chosen.
inline std::vector<int32_t> some_experts(const ExpertShape& s) {
  std::vector<int32_t> ids;
  const int64_t used = s.experts > s.per_row ? s.experts - 1 : s.experts;
  for (int64_t r = 0; r < s.rows; ++r)
    for (int64_t j = 0; j < s.per_row; ++j) ids.push_back(static_cast<int32_t>((r * r + r / 3 + j) % used));
  return ids;
}

enum class Slots {
  kOfRows,   // x has a row for each row's slots
  kOwn,      // x has a row for each slot
  kGrouped,  // by expert
};

struct ExpertWeight {
  WeightFormat format;
  std::string layout = "packed";
};

// `codes`: x is quantized. max_rows: the guard of the body, 0 for none. factor: of the sum of magnitudes that
// bounds the error.
inline OpCase& add_expert_matmul(const AddCase& add, const ExpertShape& s, const ExpertWeight& w, Slots slots,
                                 bool codes = false, bool gated = false, int64_t max_rows = 0,
                                 double factor = 1) {
  constexpr const char* kNames[] = {"rows", "slots", "grouped slots"};
  OpCase& c = add(str("expert_matmul of ", s.rows, " rows x ", s.per_row, " of ", s.experts, " experts ", s.n,
                      " x ", s.k, " ", w.format.text(), "@", w.layout, " ", kNames[int(slots)],
                      codes ? " codes" : "", gated ? " gated" : "", " guard ", max_rows),
                  {{"rows", s.rows}});
  std::mt19937 random(static_cast<unsigned>(s.rows * 31 + s.n * 7 + s.k));
  const Dim rows = Dim::symbol("rows");
  graph::Value* by = c.slots(rows, s.per_row, some_experts(s));
  graph::Attributes attributes;
  if (slots == Slots::kGrouped) {
    by = c.g->op("group_slots", {by}, {{"experts", s.experts}})[2];
    c.evaluate_last();
    attributes["k"] = s.per_row;
  }
  const int64_t count = slots == Slots::kOfRows ? s.rows : s.rows * s.per_row;
  graph::Value* x = c.matrix(slots == Slots::kOfRows ? rows : rows * Dim(s.per_row), s.k,
                             random_floats(count * s.k, 2, random), codes ? 0 : s.k + 4, codes ? 0 : 4);
  if (codes) {
    x = c.g->op("quantize_q8", {x}, {{"output", graph::TensorType::q8({}, w.format).element_text()}})[0];
    c.evaluate_last();
  }
  std::vector<float> values = random_floats(s.experts * s.n * s.k, 1, random);
  if (!w.format.is_quantized() && s.experts > s.per_row)  // what is never chosen must not be read
    std::fill(values.end() - s.n * s.k, values.end(), NAN);
  graph::Value* weight = w.format.is_quantized()
                             ? c.quantized(w.format, w.layout, s.n, s.k, values, s.experts)
                             : c.parameter(w.format.dtype, {s.experts, s.n, s.k}, values);
  c.g->op("expert_matmul", {x, weight, by}, attributes);
  if (gated) {
    graph::Node& node = *c.module.functions[0]->nodes.back();
    then(node.region, [](graph::RegionBuilder& r) { return r.call("silu", r.gate()) * r.up(); });
    node.outputs[0]->type.shape[1] = s.n / 2;
  }
  if (s.rows == 1 && slots != Slots::kGrouped) c.options.min_rows = c.options.max_rows = 1;
  if (max_rows) c.options.min_rows = 2, c.options.max_rows = max_rows;
  const double sum = 3 * static_cast<double>(s.k);  // |x| <= 2, |w| <= 1, and half a step of their codes
  c.rule.tolerance = dot_error(s.k, factor * sum) + elementwise_error(sum + 1);
  if (gated) c.rule.tolerance *= sum + 2;
  return c;
}

// Rows with ties, NaN and infinities among them.
inline void add_routes(const AddCase& add) {
  struct Routes {
    int64_t experts, k, groups = 1, kept = 1;
  };
  for (auto [experts, k, groups, kept] :
       {Routes{4, 2}, {8, 3}, {1, 1}, {60, 4}, {130, 8}, {8, 3, 4, 2}, {60, 4, 5, 1}, {130, 8, 65, 40}})
    for (bool renormalize : {false, true}) {
      std::mt19937 random(static_cast<unsigned>(experts));
      constexpr int64_t kCount = 6;
      std::vector<float> x = random_floats(kCount * experts, 4, random);
      std::fill_n(x.begin() + experts, experts, 1.5f);                          // all tie
      for (int64_t e = 0; e < experts; e += 2) x[size_t(2 * experts + e)] = 5;  // every other one
      x[size_t(3 * experts + experts / 2)] = NAN;
      x[size_t(4 * experts)] = INFINITY, x[size_t(5 * experts - 1)] = experts > 1 ? -INFINITY : 0;
      std::fill_n(x.begin() + 5 * experts, experts, NAN);
      OpCase& c =
          add(str("route to ", k, " of ", experts, renormalize ? " renormalized" : "", " groups ", groups),
              {{"rows", kCount}});
      graph::Value* logits = c.matrix(Dim::symbol("rows"), experts, x, experts + 3, 2);
      graph::Attributes attributes = {{"k", k}, {"renormalize", renormalize}};
      if (groups > 1) attributes.insert({{"groups", groups}, {"kept_groups", kept}, {"scale", 1.5}});
      c.g->op("route", {logits}, attributes);
      c.rule = {.tolerance = dot_error(experts, 1) + elementwise_error(8), .hard = true};
    }
}

inline void add_groups_and_sums(const AddCase& add) {
  for (const ExpertShape& s :
       {ExpertShape{1, 2, 4, 5, 0}, {3, 1, 1, 8, 0}, {17, 3, 8, 20, 0}, {300, 2, 5, 4, 0}}) {
    const Dim rows = Dim::symbol("rows");
    OpCase& group = add(str("group_slots of ", s.rows, " rows"), {{"rows", s.rows}});
    group.g->op("group_slots", {group.slots(rows, s.per_row, some_experts(s))}, {{"experts", s.experts}});
    for (bool placed : {false, true}) {
      std::mt19937 random(5);
      OpCase& sum =
          add(str("expert_sum of ", s.rows, " rows", placed ? " in places" : ""), {{"rows", s.rows}});
      const int64_t slots = s.rows * s.per_row;
      graph::Value* y = sum.matrix(rows * Dim(s.per_row), s.n, random_floats(slots * s.n, 2, random));
      std::vector<graph::Value*> in = {y, sum.matrix(rows, s.per_row, random_floats(slots, 1, random))};
      if (placed) {
        sum.g->op("group_slots", {sum.slots(rows, s.per_row, some_experts(s))}, {{"experts", s.experts}});
        sum.evaluate_last();
        in.push_back(sum.module.functions[0]->nodes.back()->outputs[1]);
      }
      sum.g->op("expert_sum", in);
      sum.rule.tolerance = dot_error(s.per_row, 2.0 * double(s.per_row));
    }
  }
}

}  // namespace mlc::testing
