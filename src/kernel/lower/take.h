// The row of a table that take reads.
#pragma once

#include "kernel/lower/context.h"

namespace mlc::kernel {

struct TableIndex {
  explicit TableIndex(Lowering& l);  // declares the indices
  void enter(const ExprRef& row);    // finds the index of a result row

  Lowering& low;
  Operand indices;
  ExprRef index;
  ExprRef inside;  // of a piece of a table (lower.h): whether the index lies in it; else null
};

}  // namespace mlc::kernel
