// Finds values of a checkpoint that are no finite numbers, or are none any more once they are stored.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "formats/checkpoint.h"

namespace mlc::weights {

struct NonFinite {
  int64_t nan = 0, infinite = 0;
  int64_t overflowing = 0;  // finite, infinite when rounded

  bool any() const { return nan + infinite + overflowing > 0; }
  void add(const NonFinite& other);
};

// Counts in values that are to be rounded to `dtype`. One pass, a fraction of what quantizing takes.
NonFinite count_non_finite(std::span<const float> values, DType dtype);
// Scales of Q4_0 and Q8_0 blocks, float16: each stands for the 32 values of its block.
NonFinite count_non_finite_blocks(std::span<const std::byte> scales);

// By tensor of the checkpoint: a sentence on those with NaN or infinity, and one on those that overflow.
std::vector<std::string> non_finite_notes(const std::map<int, NonFinite>& found,
                                          const Checkpoint& checkpoint);

}  // namespace mlc::weights
