// Compares the logits of two models along a text.
#include "weights/verify.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"

namespace mlc::weights {
namespace {

constexpr int64_t kRowsOfAStep = 64;  // logits of 64 positions x 150,000 tokens x 4 bytes are 38 MB a model

size_t largest(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// log(sum(exp(logits))) in f64
double log_sum(std::span<const float> logits) {
  double most = logits[largest(logits)], sum = 0;
  for (float x : logits) sum += std::exp(static_cast<double>(x) - most);
  return most + std::log(sum);
}

// One window of the text through both models.
Status compare_window(runtime::Model& source, runtime::Model& converted, std::span<const int32_t> tokens,
                      runtime::SequenceId id, Comparison& comparison,
                      const std::function<void(int64_t)>& progress) {
  RETURN_IF_ERROR(source.sequences().add(id));
  RETURN_IF_ERROR(converted.sequences().add(id));
  int64_t rows = std::min({kRowsOfAStep, source.prefill_chunk(), converted.prefill_chunk()});
  size_t vocab = static_cast<size_t>(source.vocab_size());
  for (size_t begin = 0; begin < tokens.size(); begin += static_cast<size_t>(rows)) {
    size_t count = std::min(static_cast<size_t>(rows), tokens.size() - begin);
    runtime::StepSequence step{id, tokens.subspan(begin, count)};
    ASSIGN_OR_RETURN(std::span<const float> a, source.step({&step, 1}, runtime::WantLogits::kAll));
    ASSIGN_OR_RETURN(std::span<const float> b, converted.step({&step, 1}, runtime::WantLogits::kAll));
    for (size_t r = 0; r < count && begin + r + 1 < tokens.size(); ++r)
      RETURN_IF_ERROR(
          comparison.add(a.subspan(r * vocab, vocab), b.subspan(r * vocab, vocab), tokens[begin + r + 1]));
    if (progress) progress(static_cast<int64_t>(count));
  }
  RETURN_IF_ERROR(source.sequences().remove(id));
  return converted.sequences().remove(id);
}

}  // namespace

std::string_view verify_sample() {
  static constexpr char text[] =
#include "weights/verify_text.inc"
      ;
  return {text, sizeof(text) - 1};
}

Status Comparison::add(std::span<const float> source, std::span<const float> converted, int32_t next) {
  auto finite = [](std::span<const float> x) {
    return std::all_of(x.begin(), x.end(), [](float v) { return std::isfinite(v); });
  };
  if (!finite(source))
    return Status::error(
        str("--verify: the source model gives a logit that is not finite at position ", positions_));
  if (!finite(converted))
    return Status::error(
        str("--verify: the converted model gives a logit that is not finite at position ", positions_));
  double source_sum = log_sum(source), converted_sum = log_sum(converted), divergence = 0;
  for (size_t i = 0; i < source.size(); ++i) {
    double p = static_cast<double>(source[i]) - source_sum,
           q = static_cast<double>(converted[i]) - converted_sum;
    divergence += std::exp(p) * (p - q);
  }
  ++positions_;
  same_top_ += largest(source) == largest(converted);
  divergence_ += divergence;
  worst_ = std::max(worst_, divergence);
  source_loss_ += source_sum - static_cast<double>(source[static_cast<size_t>(next)]);
  converted_loss_ += converted_sum - static_cast<double>(converted[static_cast<size_t>(next)]);
  return Status::ok();
}

VerifyReport Comparison::report() const {
  VerifyReport report;
  report.text = kVerifyTextName;
  report.positions = positions_;
  double n = static_cast<double>(std::max<int64_t>(1, positions_));
  report.kl_divergence = divergence_ / n, report.kl_divergence_max = worst_;
  report.top1_agreement = static_cast<double>(same_top_) / n;
  report.perplexity_source = std::exp(source_loss_ / n),
  report.perplexity_converted = std::exp(converted_loss_ / n);
  return report;
}

Result<VerifyReport> compare_models(runtime::Model& source, runtime::Model& converted,
                                    std::span<const int32_t> tokens,
                                    const std::function<void(int64_t)>& progress) {
  internal_check(source.vocab_size() == converted.vocab_size(), "both models come from one config");
  for (int32_t token : tokens)
    if (token < 0 || token >= source.vocab_size())
      return Status::error(str("--verify: the tokenizer gives token ", token, ", the model has ",
                               source.vocab_size(), "; do they belong together?"));
  if (tokens.size() < 2)
    return Status::error("--verify: the tokenizer makes fewer than two tokens of the text");
  size_t window = static_cast<size_t>(std::min(source.context_tokens(), converted.context_tokens()));
  Comparison comparison;
  runtime::SequenceId id = 0;
  for (size_t begin = 0; begin < tokens.size(); begin += window)
    RETURN_IF_ERROR(compare_window(source, converted,
                                   tokens.subspan(begin, std::min(window, tokens.size() - begin)), id++,
                                   comparison, progress));
  return comparison.report();
}

}  // namespace mlc::weights
