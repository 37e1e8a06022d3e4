// Rotation factors of positions.
#include "runtime/rope.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/strings.h"

namespace mlc::runtime {
namespace {

Result<double> positive(const Json& scaling, const char* key, const std::string& what) {
  ASSIGN_OR_RETURN(double value, get_number(scaling, key, what + ": rope scaling"));
  if (value > 0) return value;
  return Status::error(str(what, ": rope scaling '", key, "' is ", value, ", expected a number above 0"));
}

Status scale_llama3(std::vector<double>& frequencies, const Json& scaling, const std::string& what) {
  ASSIGN_OR_RETURN(double factor, positive(scaling, "factor", what));
  ASSIGN_OR_RETURN(double low, get_number(scaling, "low_freq_factor", what));
  ASSIGN_OR_RETURN(double high, get_number(scaling, "high_freq_factor", what));
  ASSIGN_OR_RETURN(double original, positive(scaling, "original_max_position_embeddings", what));
  if (!(high > low))
    return Status::error(str(what, ": rope scaling llama3 has low_freq_factor ", low,
                             " and high_freq_factor ", high, "; expected the second to be higher"));
  double a = original / (2 * std::numbers::pi * (high - low)), b = low / (high - low);
  for (double& f : frequencies) {
    double s = std::clamp(a * f - b, 0.0, 1.0);
    f = (1 - s) * f / factor + s * f;
  }
  return Status::ok();
}

Status divide(std::vector<double>& frequencies, const Json& scaling, const char* key,
              const std::string& what) {
  ASSIGN_OR_RETURN(const Json* divisors, get_array(scaling, key, what + ": rope scaling"));
  bool right = divisors->size() == frequencies.size();
  for (size_t d = 0; right && d < frequencies.size(); ++d) {
    right = (*divisors)[d].is_number() && (*divisors)[d].get<double>() > 0;
    if (right) frequencies[d] /= (*divisors)[d].get<double>();
  }
  if (right) return Status::ok();
  return Status::error(
      str(what, ": rope scaling '", key, "' is no list of ", frequencies.size(), " numbers above 0"));
}

// Of cosines and sines, for yarn: grows with the logarithm of the factor (arXiv:2309.00071, equation 22).
double yarn_scale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

double yarn_attention_factor(const Json& scaling, double factor) {
  if (auto stated = find_number(scaling, "attention_factor")) return *stated;
  const double of_heads = find_number(scaling, "mscale").value_or(0),
               of_all = find_number(scaling, "mscale_all_dim").value_or(0);
  if (of_heads == 0 || of_all == 0) return yarn_scale(factor, 1);
  return yarn_scale(factor, of_heads) / yarn_scale(factor, of_all);
}

}  // namespace

void RopeTable::set_powers(double theta, std::vector<double>& frequencies) const {
  frequencies.resize(static_cast<size_t>(rotary_dim_ / 2));
  for (size_t d = 0; d < frequencies.size(); ++d)
    frequencies[d] = std::pow(theta, -2.0 * static_cast<double>(d) / static_cast<double>(rotary_dim_));
}

Status RopeTable::set_dynamic(const Json& scaling, const std::string& what) {
  ASSIGN_OR_RETURN(dynamic_factor_, positive(scaling, "factor", what));
  ASSIGN_OR_RETURN(longest_within_, get_int(scaling, "max_position_embeddings", what + ": rope scaling"));
  if (longest_within_ > 0 && rotary_dim_ > 2) return Status::ok();
  return Status::error(str(what, ": rope scaling dynamic has max_position_embeddings ", longest_within_,
                           " and ", rotary_dim_, " rotated elements; expected 1 or more and 4 or more"));
}

Status RopeTable::set_yarn(const Json& scaling, const std::string& what) {
  ASSIGN_OR_RETURN(double factor, positive(scaling, "factor", what));
  ASSIGN_OR_RETURN(double original, positive(scaling, "original_max_position_embeddings", what));
  if (!(theta_ > 1))
    return Status::error(str(what, ": rope scaling yarn has theta ", theta_, ", expected more than 1"));
  auto or_default = [&](const char* key, double fallback) {  // 0 counts as not said
    const double value = find_number(scaling, key).value_or(0);
    return value == 0 ? fallback : value;
  };
  const double fast = or_default("beta_fast", 32), slow = or_default("beta_slow", 1);
  if (!(fast > 0) || !(slow > 0))
    return Status::error(str(what, ": rope scaling yarn has beta_fast ", fast, " and beta_slow ", slow,
                             "; expected numbers above 0"));
  // The element, as a real number, whose frequency turns so often within the original context.
  const double width = static_cast<double>(rotary_dim_);
  auto turning = [&](double turns) {
    return width * std::log(original / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta_));
  };
  double low = turning(fast), high = turning(slow);
  if (find_bool(scaling, "truncate").value_or(true)) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, width - 1);
  if (low == high) high += 0.001;
  for (size_t d = 0; d < within_.frequencies.size(); ++d) {
    const double scaled = std::clamp((static_cast<double>(d) - low) / (high - low), 0.0, 1.0);
    within_.frequencies[d] *= scaled / factor + (1 - scaled);
  }
  attention_factor_ = yarn_attention_factor(scaling, factor);
  return Status::ok();
}

Status RopeTable::set_longrope(const Json& scaling, const std::string& what) {
  ASSIGN_OR_RETURN(longest_within_, get_int(scaling, "original_max_position_embeddings", what));
  if (longest_within_ < 2)
    return Status::error(str(what, ": rope scaling longrope has original_max_position_embeddings ",
                             longest_within_, ", expected 2 or more"));
  beyond_.frequencies = within_.frequencies;
  RETURN_IF_ERROR(divide(within_.frequencies, scaling, "short_factor", what));
  RETURN_IF_ERROR(divide(beyond_.frequencies, scaling, "long_factor", what));
  if (auto stated = find_number(scaling, "attention_factor")) {
    attention_factor_ = *stated;
    return Status::ok();
  }
  const double original = static_cast<double>(longest_within_);
  auto factor = find_number(scaling, "factor");
  if (!factor) {
    ASSIGN_OR_RETURN(double longest, positive(scaling, "max_position_embeddings", what));
    factor = longest / original;
  }
  if (*factor > 1) attention_factor_ = std::sqrt(1 + std::log(*factor) / std::log(original));
  return Status::ok();
}

Status RopeTable::set_kind(const std::string& kind, const Json& scaling, const std::string& what) {
  if (kind == "default" || kind == "gptj") return Status::ok();
  if (kind == "dynamic") return set_dynamic(scaling, what);
  if (kind == "yarn") return set_yarn(scaling, what);
  if (kind == "longrope") return set_longrope(scaling, what);
  if (kind == "llama3") return scale_llama3(within_.frequencies, scaling, what);
  if (kind == "linear") {
    ASSIGN_OR_RETURN(double factor, positive(scaling, "factor", what));
    for (double& f : within_.frequencies) f /= factor;
    return Status::ok();
  }
  const std::vector<std::string> kinds = {"default",  "dynamic", "gptj", "linear",
                                          "longrope", "llama3",  "none", "yarn"};
  return Status::error(
      str(what, ": unknown rope kind '", kind, "', expected ", join(kinds, ", "), did_you_mean(kind, kinds)));
}

Result<RopeTable> RopeTable::create(const Json& spec, const std::string& what) {
  ASSIGN_OR_RETURN(std::string kind, get_string(spec, "kind", what));
  RopeTable table;
  if (kind == "none") return table;
  ASSIGN_OR_RETURN(table.rotary_dim_, get_int(spec, "rotary_dim", what));
  ASSIGN_OR_RETURN(table.theta_, get_number(spec, "theta", what));
  if (table.rotary_dim_ < 2 || table.rotary_dim_ % 2 != 0 || table.rotary_dim_ > 4096 || !(table.theta_ > 0))
    return Status::error(str(what, ": rope has rotary_dim ", table.rotary_dim_, " and theta ", table.theta_,
                             "; expected an even rotary_dim in 2..4096 and theta > 0"));
  table.set_powers(table.theta_, table.within_.frequencies);
  const Json* scaling = find(spec, "scaling");
  RETURN_IF_ERROR(table.set_kind(kind, scaling ? *scaling : Json::object(), what));
  return table;
}

int64_t RopeTable::table_bytes(int64_t positions) const {
  int64_t rows = std::min(positions, longest_within_);
  if (depends_on_length() && dynamic_factor_ == 0) rows += positions;
  return static_cast<int64_t>(sizeof(float)) * rows * rotary_dim_;
}

void RopeTable::reserve(int64_t positions) {
  const auto width = static_cast<size_t>(rotary_dim_);
  within_.rows.reserve(static_cast<size_t>(std::min(positions, longest_within_)) * width);
  if (depends_on_length() && dynamic_factor_ == 0)
    beyond_.rows.reserve(static_cast<size_t>(positions) * width);
  beyond_.frequencies.reserve(width / 2);
}

void RopeTable::write_row(const std::vector<double>& frequencies, int64_t position, float* out) const {
  const size_t half = frequencies.size();
  for (size_t d = 0; d < half; ++d) {
    const double angle = static_cast<double>(position) * frequencies[d];
    out[d] = static_cast<float>(attention_factor_ * std::cos(angle));
    out[half + d] = static_cast<float>(attention_factor_ * std::sin(angle));
  }
}

void RopeTable::factors(int64_t position, int64_t text_length, float* out) {
  if (rotary_dim_ == 0) return;
  const bool beyond = text_length > longest_within_;
  if (beyond && dynamic_factor_ > 0) {  // each length has a base of its own: no table
    if (beyond_length_ != text_length) {
      const double width = static_cast<double>(rotary_dim_);
      const double grown =
          dynamic_factor_ * static_cast<double>(text_length) / static_cast<double>(longest_within_) -
          (dynamic_factor_ - 1);
      set_powers(theta_ * std::pow(grown, width / (width - 2)), beyond_.frequencies);
      beyond_length_ = text_length;
    }
    return write_row(beyond_.frequencies, position, out);
  }
  Table& table = beyond ? beyond_ : within_;
  const auto width = static_cast<size_t>(rotary_dim_), row = static_cast<size_t>(position);
  for (size_t p = table.rows.size() / width; p <= row; ++p) {
    table.rows.resize((p + 1) * width);
    write_row(table.frequencies, static_cast<int64_t>(p), &table.rows[p * width]);
  }
  std::memcpy(out, &table.rows[row * width], width * sizeof(float));
}

}  // namespace mlc::runtime
