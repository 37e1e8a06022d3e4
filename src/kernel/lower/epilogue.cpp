// What becomes of a matmul's sums.
#include "kernel/lower/epilogue.h"

#include "kernel/lower/experts.h"

namespace mlc::kernel {

Epilogue::Epilogue(Lowering& low)
    : low_(low), region_(low, low.node.outputs[0]->type.shape[1].constant()), out_(low.result()) {
  columns_ = matrix_rows(low.type(1)) / halves();
  first_ = low.node.get_int_or(kPieceAttribute, 0);
}

void Epilogue::store(const ExprRef& row, const ExprRef& local, const std::vector<ExprRef>& sums,
                     bool may_pass) {
  KernelBuilder& k = low_.k;
  Unit u{row, int_const(0), first_ ? k.let("column", local + first_) : local, sums[0]->type.lanes, nullptr};
  if (may_pass) u.mask = k.let("inside", less(ramp(u.at, 1, u.lanes), int_const(columns())));
  low_.store(out_, u, region_.apply(u, sums));
}

}  // namespace mlc::kernel
