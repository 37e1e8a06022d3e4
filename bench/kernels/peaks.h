// What a core can do at most: loops of multiply-add instructions on registers only, no loads, enough
// independent chains.
#pragma once

#include <string>
#include <vector>

#include "base/target/target.h"

namespace mlc::bench {

struct PeakLoop {
  std::string name;            // "vpmaddubsw+vpaddw ymm"
  int64_t macs_per_iteration;  // multiply-adds of int8, tiles: of bf16
  void (*run)(int64_t iterations);
};

// The loop of the best instructions that the target's description offers; nullptr where we have none.
const PeakLoop* peak_loop(const Target& target);

}  // namespace mlc::bench
