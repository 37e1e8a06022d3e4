// Rows of experts.
#include "kernel/lower/experts.h"

namespace mlc::kernel {

int64_t matrix_rows(const graph::TensorType& weight) {
  return weight.shape.size() < 2 ? 1 : weight.shape[weight.shape.size() - 2].constant();
}

ExpertRows::ExpertRows(Lowering& low)
    : k_(low.k),
      rows_(low.node.outputs[0]->type.shape[0]),
      most_(rows_),
      weight_rows_(matrix_rows(low.type(1))) {
  if (low.node.inputs.size() < 3) {
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
  if (!ids_) return {int_const(0), row, row, dim_expr(rows_)};
  ExprRef expert = k_.let("expert", cast(k_.load(ids_, row), DType::kI64));
  return {k_.let("weight_row", expert * double(weight_rows_)), k_.let("x_row", row / double(share_)), row,
          row + 1.0};
}

RowRun ExpertRows::run(const ExprRef& expert) const {
  if (!runs_) return {int_const(0), int_const(0), int_const(0), dim_expr(rows_)};
  auto at = [&](const char* name, const ExprRef& e) {
    return k_.let(name, cast(k_.load(runs_, e), DType::kI64));
  };
  ExprRef first = at("first", expert), end = at("end", expert + 1.0);
  return {k_.let("weight_row", expert * double(weight_rows_)), first, first, end};
}

}  // namespace mlc::kernel
