// Poolings and their names.
#include "serve/embed/pooling.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/strings.h"

namespace mlc::serve {

Result<Pooling> parse_pooling(const std::string& text, const std::string& what) {
  if (text == "cls") return Pooling::kFirst;
  if (text == "mean") return Pooling::kMean;
  if (text == "last") return Pooling::kLast;
  return Status::error(str(what, ": pooling_strategy is '", text, "', expected cls, mean or last"));
}

Result<EmbeddingForm> embedding_form(const Json& config, bool encoder, const std::string& what) {
  EmbeddingForm form{.pooling = encoder ? Pooling::kFirst : Pooling::kLast};
  const Json* metadata = find(config, "embedding_metadata");
  if (!metadata || metadata->is_null()) return form;
  if (auto strategy = find_string(*metadata, "pooling_strategy")) {
    ASSIGN_OR_RETURN(form.pooling, parse_pooling(*strategy, what + ": embedding_metadata"));
  }
  form.normalize = find_bool(*metadata, "normalize").value_or(true);
  return form;
}

void Pooler::put(std::span<const float> rows) {
  for (size_t at = 0; at < rows.size(); at += sum_.size(), ++rows_) {
    if (pooling_ == Pooling::kFirst && rows_ > 0) continue;
    for (size_t i = 0; i < sum_.size(); ++i)
      sum_[i] = rows[at + i] + (pooling_ == Pooling::kMean ? sum_[i] : 0);
  }
}

std::vector<float> Pooler::take() const {
  internal_check(rows_ > 0, "a pooling of nothing");
  const auto count = static_cast<double>(pooling_ == Pooling::kMean ? rows_ : 1);
  std::vector<float> result;
  for (double value : sum_) result.push_back(static_cast<float>(value / count));
  return result;
}

void normalize(std::vector<float>& values) {
  double squares = 0;
  for (float value : values) squares += double{value} * value;
  if (squares == 0) return;
  for (float& value : values) value = static_cast<float>(value / std::sqrt(squares));
}

}  // namespace mlc::serve
