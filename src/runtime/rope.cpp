// Rotation factors of positions.
#include "runtime/rope.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/strings.h"

namespace mlc::runtime {
namespace {

// Llama 3's frequency bands (mlc-facts 5.6): long wavelengths are divided by `factor`, short ones kept, a
// ramp between.
Status scale_llama3(std::vector<double>& frequencies, const Json& scaling, const std::string& what) {
  ASSIGN_OR_RETURN(double factor, get_number(scaling, "factor", what));
  ASSIGN_OR_RETURN(double low, get_number(scaling, "low_freq_factor", what));
  ASSIGN_OR_RETURN(double high, get_number(scaling, "high_freq_factor", what));
  ASSIGN_OR_RETURN(double original, get_number(scaling, "original_max_position_embeddings", what));
  if (!(factor > 0) || !(high > low) || !(original > 0))
    return Status::error(str(what, ": rope scaling llama3 has factor ", factor, ", low_freq_factor ", low,
                             ", high_freq_factor ", high, "; expected factor > 0 and high > low"));
  double a = original / (2 * std::numbers::pi * (high - low)), b = low / (high - low);
  for (double& f : frequencies) {
    double s = std::clamp(a * f - b, 0.0, 1.0);
    f = (1 - s) * f / factor + s * f;
  }
  return Status::ok();
}

}  // namespace

Result<RopeTable> RopeTable::create(const Json& spec, const std::string& what) {
  ASSIGN_OR_RETURN(std::string kind, get_string(spec, "kind", what));
  RopeTable table;
  if (kind == "none") return table;
  ASSIGN_OR_RETURN(table.rotary_dim_, get_int(spec, "rotary_dim", what));
  ASSIGN_OR_RETURN(double theta, get_number(spec, "theta", what));
  if (table.rotary_dim_ < 2 || table.rotary_dim_ % 2 != 0 || table.rotary_dim_ > 4096 || !(theta > 0))
    return Status::error(str(what, ": rope has rotary_dim ", table.rotary_dim_, " and theta ", theta,
                             "; expected an even rotary_dim in 2..4096 and theta > 0"));
  int64_t half = table.rotary_dim_ / 2;
  for (int64_t d = 0; d < half; ++d)
    table.frequencies_.push_back(
        std::pow(theta, -2.0 * static_cast<double>(d) / static_cast<double>(table.rotary_dim_)));
  if (kind == "llama3") {
    ASSIGN_OR_RETURN(const Json* scaling, get_object(spec, "scaling", what));
    RETURN_IF_ERROR(scale_llama3(table.frequencies_, *scaling, what));
  } else if (kind != "default" && kind != "gptj") {
    return Status::error(str(what, ": unknown rope kind '", kind, "', expected default, gptj, llama3 or none",
                             did_you_mean(kind, {"default", "gptj", "llama3", "none"})));
  }
  return table;
}

void RopeTable::factors(int64_t position, float* out) {
  if (rotary_dim_ == 0) return;
  size_t width = static_cast<size_t>(rotary_dim_), half = width / 2;
  for (size_t p = table_.size() / width; p <= static_cast<size_t>(position); ++p) {
    table_.resize((p + 1) * width);
    float* row = &table_[p * width];
    for (size_t d = 0; d < half; ++d) {
      double angle = static_cast<double>(p) * frequencies_[d];
      row[d] = static_cast<float>(std::cos(angle));
      row[half + d] = static_cast<float>(std::sin(angle));
    }
  }
  std::memcpy(out, &table_[static_cast<size_t>(position) * width], width * sizeof(float));
}

}  // namespace mlc::runtime
