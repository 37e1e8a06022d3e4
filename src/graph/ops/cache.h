// Where a key or value lies in an interpreted KV cache, and copies of what states hold.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "graph/ops/registry.h"

namespace mlc::graph {

// The elements of one token's key (or value) head; `slot` = page * page_size + offset. Throws
// std::invalid_argument when the slot lies outside of the cache.
float* cached_head(HostState& state, int64_t layer, bool value, int64_t head, int64_t slot);

// An op that copies units of a state, pages or slots, in every layer: from those of its first input to those
// of its second. `check` is of the node's state; `unit` finds one in a layer, or throws.
OpInfo copy_units(const std::string& name, const std::function<void(const Node&, const Module&)>& check,
                  const std::function<std::span<float>(HostState&, int64_t layer, int64_t id)>& unit);

}  // namespace mlc::graph
