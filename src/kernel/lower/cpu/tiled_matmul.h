// What the matmuls of weights in a tile layout share on CPUs: operands, vectors of columns, blocks of rows.
#pragma once

#include <vector>

#include "kernel/lower/cpu/context.h"
#include "kernel/lower/cpu/experts.h"
#include "kernel/lower/cpu/weight_layouts.h"
#include "kernel/lower/epilogue.h"

namespace mlc::kernel {

struct TiledMatmul {
  explicit TiledMatmul(CpuLowering& l);  // declares the call's buffers

  CpuLowering& low;
  KernelBuilder& k;
  Operand x;
  WeightReader weight;
  ExpertRows experts;
  Epilogue epilogue;
  ExprRef matrix_row = int_const(0);  // where the weight's rows that the tile meets begin
  int lanes = 8;                      // weight rows of one vector
  int64_t vectors = 1;                // of a half's columns
  bool tail = false;                  // the last vector has lanes past the last column

  int halves() const { return epilogue.halves(); }
  int64_t groups() const { return weight.layout.groups(); }
  ExprRef weight_row(const ExprRef& column, int half) const {
    return matrix_row + column + half * epilogue.columns();
  }

  // First columns of the `count` vectors of a tile; past the last vector: the last once more, whose results
  // are equal.
  std::vector<ExprRef> tile_columns(const ExprRef& first, int count);

  // Stores columns [column, column + lanes) of a row; values: one per half.
  void store(const ExprRef& row, const ExprRef& column, const std::vector<ExprRef>& values) {
    epilogue.store(row, column, values, tail);
  }
  // Stores a row from its sums at sums[at ..], [vector][half][lane], of the vectors that begin at `columns`.
  void store(const ExprRef& row, const std::vector<ExprRef>& columns, const BufferRef& sums,
             const ExprRef& at);
};

// Some rows of a matrix, as i64 values.
struct RowBlock {
  ExprRef first, count;
};

// Block `index` of the ceildiv(rows, limit) that a matrix is cut into, of equal size in whole units of rows;
// `limit` is a multiple of the unit. The last blocks may be short, or empty.
RowBlock row_block(KernelBuilder& k, const Dim& rows, int64_t limit, int unit, const ExprRef& index);

}  // namespace mlc::kernel
