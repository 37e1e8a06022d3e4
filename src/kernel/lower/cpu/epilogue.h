// The epilogue of a matmul: bias, activation, gate, multiply and residual, applied in f32 before the result
// is stored.
#pragma once

#include <vector>

#include "kernel/lower/cpu/context.h"

namespace mlc::kernel {

class Epilogue {
 public:
  // Declares the steps' operands and then the output: call it after the matmul's own inputs.
  explicit Epilogue(CpuLowering& low);

  // Rows of the weight per result column: 2 when a step gates (result n comes from weight rows n and n +
  // columns()).
  int halves() const { return gated_ ? 2 : 1; }
  int64_t columns() const { return out_.columns; }

  // Finishes columns [column, column + lanes) of a row and stores them. values: one per half, f32 vectors.
  // Lanes whose column is past the last are not stored; may_pass says whether there can be such lanes.
  void store(const ExprRef& row, const ExprRef& column, std::vector<ExprRef> values, bool may_pass);

 private:
  ExprRef operand(size_t step, const ExprRef& row, const ExprRef& column, int64_t width, int lanes,
                  const ExprRef& mask);

  CpuLowering& low_;
  std::vector<BufferRef> operands_;  // null where a step has none
  Matrix out_;
  bool gated_ = false;
};

}  // namespace mlc::kernel
