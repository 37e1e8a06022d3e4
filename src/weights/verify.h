// --verify: how far the predictions of a converted model are from those of its source, on a text of ours.
//
// Both run at the exact optimization level over the same tokens; at each position the distributions of the
// next token are compared. `report` fields are defined in verify_report.h.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "base/status.h"
#include "runtime/model.h"
#include "weights/verify_report.h"

namespace mlc::weights {

constexpr const char* kVerifyTextName = "ferry (built in)";
// English prose of some 1,500 tokens, written for this.
std::string_view verify_sample();

// Adds up comparisons of one position each.
class Comparison {
 public:
  // Logits of both models for the same position, and the token that follows in the text. Not finite: an
  // error.
  Status add(std::span<const float> source, std::span<const float> converted, int32_t next);
  VerifyReport report() const;

 private:
  int64_t positions_ = 0, same_top_ = 0;
  double divergence_ = 0, worst_ = 0, source_loss_ = 0, converted_loss_ = 0;
};

// Feeds `tokens` to both models in windows of their context. `progress` is called with tokens done since the
// last call.
Result<VerifyReport> compare_models(runtime::Model& source, runtime::Model& converted,
                                    std::span<const int32_t> tokens,
                                    const std::function<void(int64_t)>& progress);

}  // namespace mlc::weights
