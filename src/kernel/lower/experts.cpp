// Rows of experts.
#include "kernel/lower/experts.h"

#include <algorithm>

#include "kernel/lower/lowerings.h"

namespace mlc::kernel {

int64_t matrix_rows(const graph::TensorType& weight) {
  return weight.shape.size() < 2 ? 1 : weight.shape[weight.shape.size() - 2].constant();
}

ExpertRows::ExpertRows(Lowering& low)
    : k_(low.k),
      rows_(low.node.outputs[0]->type.shape[0]),
      most_(rows_),
      weight_rows_(matrix_rows(low.type(1))) {
  if (low.node.op == "head_matmul") {
    heads_ = true, by_row_ = low.single_row(), count_ = low.type(1).shape[0].constant();
    rows_ = (by_row_ ? Dim(1) : rows_) * Dim(count_);
    return;
  }
  if (low.node.op == "matmul") {
    by_row_ = low.single_row();
    return;
  }
  const graph::TensorType& by = low.type(2);
  count_ = low.type(1).shape[0].constant();
  if (by.shape.size() == 2) {
    by_row_ = true;
    ids_ = k_.input("ids", DType::kI32, elements_of(by.shape));
    if (low.type(0).shape[0] != rows_) share_ = by.shape[1].constant();
  } else {
    runs_ = k_.input("indptr", DType::kI32, elements_of(by.shape));
    most_ = ceildiv(rows_, low.node.get_int("k"));
  }
}

RowRun ExpertRows::one_row(const ExprRef& row) const {
  if (heads_) return {k_.let("weight_row", row * weight_rows_), row, row, row + 1};
  if (!ids_) return {int_const(0), row, row, dim_expr(rows_)};
  ExprRef expert = k_.let("expert", cast(k_.load(ids_, row), DType::kI64));
  return {k_.let("weight_row", expert * weight_rows_), k_.let("x_row", row / share_), row, row + 1};
}

RowRun ExpertRows::run(const ExprRef& expert) const {
  if (heads_)
    return {k_.let("weight_row", expert * weight_rows_), expert, expert,
            k_.let("end", expert + (dim_expr(most_) - 1) * count_ + 1), count_};
  if (!runs_) return {int_const(0), int_const(0), int_const(0), dim_expr(rows_)};
  auto at = [&](const char* name, const ExprRef& e) {
    return k_.let(name, cast(k_.load(runs_, e), DType::kI64));
  };
  ExprRef first = at("first", expert), end = at("end", expert + 1);
  return {k_.let("weight_row", expert * weight_rows_), first, first, end};
}

Routing routing_of(const graph::Node& node) {
  const int64_t groups = node.get_int_or("groups", 1);
  return {.renormalize = node.get_bool_or("renormalize", false),
          .groups = groups,
          .kept_groups = node.get_int_or("kept_groups", groups),
          .scale = node.attributes.count("scale") ? node.get_double("scale") : 1};
}

ExprRef logit_key(const ExprRef& logit) {
  ExprRef least = binary(BinaryOp::kMax, logit, float_const(-kLargestLogit));
  return binary(BinaryOp::kMin, least, float_const(kLargestLogit));
}

ExprRef logit_power(KernelBuilder& k, const ExprRef& logit, const ExprRef& top) {
  ExprRef v = k.let("v", logit);
  return k.let("power", select(binary(BinaryOp::kNe, v, v), v, call(MathFn::kExp, logit_key(v) - top)));
}

ExprRef comes_after(const ExprRef& key, const ExprRef& number, const ExprRef& other_key,
                    const ExprRef& other_number) {
  ExprRef less_key = less(key, other_key);
  if (!other_number) return less_key;
  ExprRef tie = binary(BinaryOp::kEq, key, other_key);
  return binary(BinaryOp::kOr, less_key, binary(BinaryOp::kAnd, tie, less(other_number, number)));
}

Function lower_expert_sum(Lowering& low) {
  KernelBuilder& k = low.k;
  Operand y = low.matrix(0, "y"), weights = low.matrix(1, "weights"), places;
  const bool placed = low.node.inputs.size() > 2;
  if (placed) places = low.vector(2, "places");
  Operand out = low.result();
  std::vector<ExprRef> slots, factors;  // of the row
  auto enter = [&](const ExprRef& row) {
    slots.clear(), factors.clear();
    for (int64_t j = 0; j < weights.columns; ++j) {
      ExprRef slot = row * weights.columns + j;
      slots.push_back(k.let("slot", placed ? low.load_index(places, slot) : slot));
      factors.push_back(k.let("weight", low.load(weights, weights.at(row, int_const(j)))));
    }
  };
  auto body = [&](const Unit& u) {
    ExprRef sum;
    for (size_t j = 0; j < slots.size(); ++j) {
      ExprRef v = low.load(y, y.at(slots[j], u.at), u.lanes), w = broadcast(factors[j], u.lanes);
      sum = k.let("sum", sum ? fma(v, w, sum) : v * w);
    }
    low.store(out, u, sum);
  };
  low.for_each_unit({.rows = out.rows,
                     .parts = {{out.columns, std::min(y.lanes(), out.lanes()), false, body}},
                     .enter = enter});
  return k.finish();
}

}  // namespace mlc::kernel
