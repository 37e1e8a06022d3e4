// Cuts a parameter's plan into the plans of its ranks.
#include "weights/ranks.h"

#include <charconv>
#include <numeric>

#include "base/env.h"
#include "base/strings.h"
#include "formats/checked.h"

namespace mlc::weights {
namespace {

// Whether the axis is the one that groups lie along.
bool cuts_inputs(const ParameterPlan& p) {
  return p.parameter.sharding.axis > 0 && p.parameter.sharding.axis + 1 == static_cast<int>(p.shape.size());
}

// What a part's length along the axis must be a multiple of.
int64_t unit_of(const ParameterPlan& p) {
  int64_t unit = p.parameter.sharding.unit;
  if (cuts_inputs(p) && p.format.is_quantized()) unit = std::lcm(unit, static_cast<int64_t>(p.format.group));
  return unit;
}

Status check_divides(const ParameterPlan& whole, const std::vector<int64_t>& segments, int ranks) {
  int64_t unit = unit_of(whole), most = 0;
  bool fits = true;
  for (int64_t segment : segments) {
    fits &= segment % (ranks * unit) == 0;
    most = std::gcd(most, segment % unit == 0 ? segment / unit : 1);
  }
  if (fits) return Status::ok();
  std::vector<std::string> lengths;
  for (int64_t segment : segments) lengths.push_back(str(segment));
  return Status::error(
      str(env::kPreshardNum, ": ", ranks, " ranks cannot divide ", whole.parameter.name, ": its ",
          cuts_inputs(whole) ? "inputs (" : "outputs (", join(lengths, " + "), ") come in parts of ", unit,
          most > 1 ? str("; choose a divisor of ", most)
                   : std::string("; this model cannot be pre-sharded in this quantization")));
}

}  // namespace

Result<int> parse_rank_count(const std::string& text) {
  int count = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < 1 || count > kMaxRanks)
    return Status::error(str(env::kPreshardNum, ": ", shown_name(text),
                             " is not a number of tensor-parallel ranks; set 1 to ", kMaxRanks,
                             ", or unset it for weights that are not split"));
  return count;
}

Result<std::vector<ParameterPlan>> split_ranks(ParameterPlan whole, int ranks) {
  const frontend::Sharding& sharding = whole.parameter.sharding;
  std::vector<ParameterPlan> parts;
  if (ranks == 0 || sharding.axis < 0) {
    parts.push_back(std::move(whole));
    return parts;
  }
  std::vector<int64_t> segments = sharding.segments;
  const size_t axis = static_cast<size_t>(sharding.axis);
  if (segments.empty()) segments = {whole.shape[axis]};
  RETURN_IF_ERROR(check_divides(whole, segments, ranks));
  whole.source.shape = whole.shape;
  for (int rank = 0; rank < ranks; ++rank) {
    ParameterPlan part = whole;
    part.rank = rank;
    part.shape[axis] /= ranks;
    (cuts_inputs(whole) ? part.row_size : part.rows) /= ranks;
    std::vector<SourceExpr> slices;
    int64_t first = 0;
    for (int64_t segment : segments) {
      const int64_t begin = first + rank * (segment / ranks);
      slices.push_back(
          SourceExpr::slice(whole.source, sharding.axis, whole.shape[axis], begin, begin + segment / ranks));
      slices.back().shape = result_shape(slices.back());
      first += segment;
    }
    part.source = SourceExpr::concat(std::move(slices), sharding.axis);
    part.source.shape = part.shape;
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace mlc::weights
