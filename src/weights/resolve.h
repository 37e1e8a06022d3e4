// Finds the tensors of a source expression in a checkpoint and checks that they make up what a parameter
// needs.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "formats/checkpoint.h"
#include "formats/source_expr.h"

namespace mlc::weights {

// Fills the shapes, tensors and leaves of `expr`, whose result must have `shape`. `what` names the checkpoint
// in errors, `parameter` what is made: missing or wrongly shaped tensors, dtypes that are not floats.
Status resolve_sources(const Checkpoint& checkpoint, const std::string& what, const std::string& parameter,
                       const std::vector<int64_t>& shape, SourceExpr& expr);

}  // namespace mlc::weights
