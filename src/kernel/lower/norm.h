// A norm of a row (meaning: graph/ops/norm.cpp), by itself or before a matmul.
#pragma once

#include "kernel/lower/context.h"

namespace mlc::kernel {

class LoweredNorm {
 public:
  // `op`: "rms_norm" or "layer_norm". Declares the weight and the bias, the node's inputs from `first` on,
  // with names that begin with `prefix`.
  LoweredNorm(Lowering& low, const std::string& op, size_t first, const std::string& prefix = "");

  const Operand& weight() const { return weight_; }
  // Each part of a row, of that many columns, is normed by itself, with a part of the weights.
  void split_heads(int64_t part);
  // Stores as a row of `out` what `finish` makes of the normed elements.
  void store(Row& row, const Operand& out, const Row::Value& finish) const;

 private:
  Lowering& low_;
  bool centered_;
  Operand weight_, bias_;
};

// Of a kernel that does not norm the x of its matmul: no pass may ask it to.
void check_no_norm(const Lowering& low);

}  // namespace mlc::kernel
