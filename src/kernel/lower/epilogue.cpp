// The epilogue of a matmul.
#include "kernel/lower/epilogue.h"

#include "base/strings.h"

namespace mlc::kernel {

using Kind = graph::EpilogueStep::Kind;

Epilogue::Epilogue(Lowering& low) : low_(low) {
  for (size_t i = 0; i < low.node.epilogue.size(); ++i) {
    const graph::EpilogueStep& step = low.node.epilogue[i];
    gated_ = gated_ || step.kind == Kind::kGated;
    operands_.push_back(step.operand ? low.vector(step.operand->type, str("operand", i)) : Operand{});
  }
  out_ = low.result();
  columns_ = low.type(1).shape[0].constant() / halves();
  first_ = low.node.get_int_or(kPieceAttribute, 0);
}

void Epilogue::store(const ExprRef& row, const ExprRef& local, std::vector<ExprRef> values, bool may_pass) {
  KernelBuilder& k = low_.k;
  const int lanes = values[0]->type.lanes;
  ExprRef column = first_ ? k.let("column", local + first_) : local, mask;
  if (may_pass) mask = k.let("inside", less(ramp(column, 1, lanes), int_const(columns())));
  for (size_t s = 0; s < low_.node.epilogue.size(); ++s) {
    const graph::EpilogueStep& step = low_.node.epilogue[s];
    if (step.kind == Kind::kGated) {
      values = {k.let("gated", apply_activation(step.function, values[0]) * values[1])};
      continue;
    }
    const int64_t width = out_.columns * static_cast<int64_t>(values.size());
    for (size_t h = 0; h < values.size(); ++h) {
      ExprRef at = column + static_cast<int64_t>(h) * out_.columns;
      if (step.kind != Kind::kBias) at = row * width + at;
      if (step.kind == Kind::kActivation)
        values[h] = apply_activation(step.function, values[h]);
      else if (step.kind == Kind::kMul)
        values[h] = values[h] * low_.load(operands_[s], at, lanes, mask);
      else
        values[h] = values[h] + low_.load(operands_[s], at, lanes, mask);
      values[h] = k.let("x", values[h]);
    }
  }
  low_.store(out_, out_.at(row, column), values[0], mask);
}

}  // namespace mlc::kernel
