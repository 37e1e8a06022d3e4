// Defaults and ranges of generation settings.
#include "serve/sample/generation_config.h"

#include <cmath>

#include "base/strings.h"

namespace mlc::serve {

GenerationConfig GenerationConfig::from_mlc_config(const Json& config) {
  GenerationConfig g;
  g.temperature = find_number(config, "temperature").value_or(g.temperature);
  g.top_p = find_number(config, "top_p").value_or(g.top_p);
  g.frequency_penalty = find_number(config, "frequency_penalty").value_or(g.frequency_penalty);
  g.presence_penalty = find_number(config, "presence_penalty").value_or(g.presence_penalty);
  return g;
}

Status GenerationConfig::validate() const {
  struct Range {
    const char* name;
    double value, low, high;
  };
  const Range ranges[] = {{"temperature", temperature, 0, 1e6},
                          {"top_p", top_p, 0, 1},
                          {"frequency_penalty", frequency_penalty, -2, 2},
                          {"presence_penalty", presence_penalty, -2, 2},
                          {"min_p", min_p, 0, 1},
                          {"top_logprobs", static_cast<double>(top_logprobs), 0, 20}};
  for (const Range& r : ranges)
    if (!(r.value >= r.low && r.value <= r.high))
      return Status::error(str(r.name, ": ", r.value, " is not in [", r.low, ", ", r.high, "]"));
  if (!(repetition_penalty > 0) || std::isinf(repetition_penalty))
    return Status::error(str("repetition_penalty: ", repetition_penalty, " is not above 0"));
  if (top_k < 0) return Status::error(str("top_k: ", top_k, " is not 0 (all) or more"));
  if (max_tokens < -1) return Status::error(str("max_tokens: ", max_tokens, " is not -1 (no limit) or more"));
  for (const auto& [token, bias] : logit_bias)
    if (!(bias >= -100 && bias <= 100))
      return Status::error(str("logit_bias: ", bias, " for token ", token, " is not in [-100, 100]"));
  return Status::ok();
}

}  // namespace mlc::serve
