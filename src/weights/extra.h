// What becomes of a checkpoint's tensors that no parameter needs, and what those that are missing or packed
// mean.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "formats/checkpoint.h"

namespace mlc::weights {

// Tensors outside of `used` (names that parameters are made of) are noted, the first few by name, as
// transformers does: heads for training, adapters, layers past the last. Buffers that every such checkpoint
// may have, and names that end in one of `unused`, get no word. Refused are those that change what the model
// computes, which config.json then describes wrongly: biases that are not zero beside weights that are used,
// norms of queries and keys, experts, sinks. With `ignore_extra` nothing is said of any.
Status check_extra(const Checkpoint& checkpoint, const std::set<std::string>& used,
                   const std::vector<std::string>& unused, bool ignore_extra,
                   std::vector<std::string>& notes);

// Refuses a checkpoint in which another quantizer's arrays stand where `used` weights should.
Status check_packed(const Checkpoint& checkpoint, const std::set<std::string>& used);

// What the end of the sentence on a missing tensor may add: "; ..." or "".
std::string missing_hint(const Checkpoint& checkpoint, const std::string& name);

}  // namespace mlc::weights
