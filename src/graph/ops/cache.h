// Where a key or value lies in an interpreted KV cache.
#pragma once

#include <vector>

#include "graph/ops/registry.h"

namespace mlc::graph {

// The elements of one token's key (or value) head; `slot` = page * page_size + offset. Throws
// std::invalid_argument when the slot lies outside of the cache.
float* cached_head(HostState& state, int64_t layer, bool value, int64_t head, int64_t slot);

}  // namespace mlc::graph
