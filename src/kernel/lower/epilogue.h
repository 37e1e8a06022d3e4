// The epilogue of a matmul: bias, activation, gate, multiply and residual, applied in f32 before the result
// is stored.
#pragma once

#include <vector>

#include "kernel/lower/context.h"

namespace mlc::kernel {

class Epilogue {
 public:
  // Declares the steps' operands and then the output: call it after the matmul's own inputs.
  explicit Epilogue(Lowering& low);

  // Rows of the weight per result column: 2 when a step gates (result n comes from weight rows n and n +
  // columns()).
  int halves() const { return gated_ ? 2 : 1; }
  // Of the result, or of the part that a piece of a weight gives (lower.h); columns are counted from its
  // first one.
  int64_t columns() const { return columns_; }

  // Finishes columns [column, column + lanes) of a row and stores them. values: one per half, f32 vectors.
  // Lanes whose column is past the last are not stored; may_pass says whether there can be such lanes.
  void store(const ExprRef& row, const ExprRef& column, std::vector<ExprRef> values, bool may_pass = false);

 private:
  Lowering& low_;
  std::vector<Operand> operands_;  // without a buffer where a step has none
  Operand out_;
  bool gated_ = false;
  int64_t columns_ = 0, first_ = 0;
};

}  // namespace mlc::kernel
