// Pre-sharding: the parts of a parameter that tensor-parallel ranks hold, as plans of their own
// (MLC_INTERNAL_PRESHARD_NUM, mlc-facts 1.1 and 3.6).
//
// Rank r of n holds the r-th n-th of each segment of the sharded axis. Along the inputs a part is whole
// groups, so that it is packed as it would be inside the whole weight.
#pragma once

#include <string>
#include <vector>

#include "weights/plan.h"

namespace mlc::weights {

constexpr int kMaxRanks = 1024;

// The number in the variable's text: 1 to kMaxRanks. An error names the variable.
Result<int> parse_rank_count(const std::string& text);

// The plans of ranks 0 .. ranks - 1, or `whole` alone where every rank holds all of it. An error names the
// parameter and the rank counts that divide it.
Result<std::vector<ParameterPlan>> split_ranks(ParameterPlan whole, int ranks);

}  // namespace mlc::weights
