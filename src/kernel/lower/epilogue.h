// What becomes of a matmul's sums: its region, in f32, and the store of the result.
#pragma once

#include <vector>

#include "kernel/lower/region.h"

namespace mlc::kernel {

class Epilogue {
 public:
  // Declares the region's operands and then the output: call it after the matmul's own inputs.
  explicit Epilogue(Lowering& low);

  // Rows of the weight per result column: 2 when the region gates (result n comes from weight rows n and n +
  // columns()).
  int halves() const { return region_.accumulators(); }
  // Makes each head of the result's rows, of `elements` elements, a row of its own.
  void split_heads(int64_t elements) { low_.split_heads(out_, elements); }
  const Operand& out() const { return out_; }
  // Of the result, or of the part that a piece of a weight gives (lower.h); columns are counted from its
  // first one.
  int64_t columns() const { return columns_; }

  // Finishes columns [column, column + lanes) of a row and stores them. sums: one per half, f32 vectors.
  // Lanes whose column is past the last are not stored; may_pass says whether there can be such lanes.
  void store(const ExprRef& row, const ExprRef& column, const std::vector<ExprRef>& sums,
             bool may_pass = false);

 private:
  Lowering& low_;
  LoweredRegion region_;
  Operand out_;
  int64_t columns_ = 0, first_ = 0;
};

}  // namespace mlc::kernel
