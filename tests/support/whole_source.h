// Source expressions evaluated on whole tensors, in the obvious way: what the ranges of weights/block.h are
// held to.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "formats/source_expr.h"

namespace mlc::testing {

struct WholeTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
  DType read_as = DType::kF32;
};

// `tensor` gives the tensors by name. `exact`: x + 1 is not rounded to the dtype of its source, and what is
// scaled not to `dtype`, the parameter's.
WholeTensor evaluate(const SourceExpr& expr, const std::function<WholeTensor(const std::string&)>& tensor,
                     DType dtype, bool exact = false);

}  // namespace mlc::testing
