// Rotation factors of positions (mlc-facts 5.6): every kind of rope_scaling, in f64 on the host, as the f32
// table that kernels read. Kernels never compute a sine.
#pragma once

#include <vector>

#include "base/json.h"

namespace mlc::runtime {

class RopeTable {
 public:
  // `spec` is the manifest's "rope": {"kind": "none" | "default" | "gptj" | "llama3", "rotary_dim", "theta",
  // "scaling"}.
  static Result<RopeTable> create(const Json& spec, const std::string& what);

  int64_t rotary_dim() const { return rotary_dim_; }
  // Memory for positions 0 .. positions - 1, of rotary_dim floats each: asking for their factors allocates
  // nothing then.
  void reserve(int64_t positions) { table_.reserve(static_cast<size_t>(positions * rotary_dim_)); }
  // Writes rotary_dim floats: cosines of the rotary_dim/2 frequencies at `position`, then the sines.
  void factors(int64_t position, float* out);

 private:
  int64_t rotary_dim_ = 0;
  std::vector<double> frequencies_;  // radians per position, rotary_dim / 2
  std::vector<float> table_;         // of positions 0, 1, ... as far as asked for
};

}  // namespace mlc::runtime
