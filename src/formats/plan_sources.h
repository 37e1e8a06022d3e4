// What a weight of a plan takes of the records it is made from.
#pragma once

#include <cstddef>
#include <cstdint>

#include "formats/plan.h"

namespace mlc {

constexpr size_t kMaxSources = 8;  // of a weight

// How many rows of the weight one row of source i holds: 1, or as many as words along the rows hold codes; 0
// where the shapes do not fit each other.
int64_t rows_in_one(const PlanWeight& weight, size_t i);

}  // namespace mlc
