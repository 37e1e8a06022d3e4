// The epilogue of a matmul.
#include "kernel/lower/cpu/epilogue.h"

#include "base/strings.h"

namespace mlc::kernel {
namespace {

using Kind = graph::EpilogueStep::Kind;

}  // namespace

Epilogue::Epilogue(CpuLowering& low) : low_(low) {
  for (size_t i = 0; i < low.node.epilogue.size(); ++i) {
    const graph::EpilogueStep& step = low.node.epilogue[i];
    gated_ = gated_ || step.kind == Kind::kGated;
    BufferRef buffer;
    if (step.operand) {
      Dim size(1);
      for (const Dim& d : step.operand->type.shape) size = size * d;
      buffer = low.k.input(str("operand", i), step.operand->type.dtype(), size);
    }
    operands_.push_back(buffer);
  }
  out_ = low.result();
}

ExprRef Epilogue::operand(size_t step, const ExprRef& row, const ExprRef& column, int64_t width, int lanes,
                          const ExprRef& mask) {
  bool bias = low_.node.epilogue[step].kind == Kind::kBias;
  ExprRef index = bias ? column : row * static_cast<double>(width) + column;
  return low_.load_f32(operands_[step], index, lanes, mask);
}

void Epilogue::store(const ExprRef& row, const ExprRef& column, std::vector<ExprRef> values, bool may_pass) {
  KernelBuilder& k = low_.k;
  int lanes = values[0]->type.lanes;
  ExprRef mask;
  if (may_pass) mask = k.let("inside", less(ramp(column, 1, lanes), int_const(columns())));
  for (size_t s = 0; s < low_.node.epilogue.size(); ++s) {
    const graph::EpilogueStep& step = low_.node.epilogue[s];
    if (step.kind == Kind::kGated) {
      values = {k.let("gated", apply_activation(step.function, values[0]) * values[1])};
      continue;
    }
    int64_t width = columns() * static_cast<int64_t>(values.size());
    for (size_t h = 0; h < values.size(); ++h) {
      ExprRef at = column + static_cast<double>(static_cast<int64_t>(h) * columns());
      if (step.kind == Kind::kActivation)
        values[h] = apply_activation(step.function, values[h]);
      else if (step.kind == Kind::kMul)
        values[h] = values[h] * operand(s, row, at, width, lanes, mask);
      else
        values[h] = values[h] + operand(s, row, at, width, lanes, mask);
      values[h] = k.let("x", values[h]);
    }
  }
  low_.store_f32(out_.buffer, out_.at(row, column), values[0], mask);
}

}  // namespace mlc::kernel
