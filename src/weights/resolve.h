// Finds the tensors of a source expression in a checkpoint and checks that they make up what a parameter
// needs.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "formats/checkpoint.h"
#include "formats/source_expr.h"

namespace mlc::weights {

// What is made of an expression.
struct Wanted {
  const std::string& parameter;  // its name, for errors
  const std::vector<int64_t>& shape;
  DType dtype;  // u32: words that are copied; else floats
};

// Fills the shapes, tensors and leaves of `expr`. `what` names the checkpoint in errors: missing or wrongly
// shaped tensors, dtypes that are not floats, or not words.
Status resolve_sources(const Checkpoint& checkpoint, const std::string& what, const Wanted& wanted,
                       SourceExpr& expr);

}  // namespace mlc::weights
