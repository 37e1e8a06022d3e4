// The life of a request: rates, finish reasons, and its state inside the engine.
#include "serve/request.h"

namespace mlc::serve {

const char* finish_reason_text(FinishReason reason) {
  constexpr const char* kTexts[] = {"none", "stop", "length", "error", "abort", "cycle"};
  return kTexts[static_cast<int>(reason)];
}

double RequestMetrics::prefill_tokens_per_second() const {
  return prefill_seconds > 0 ? static_cast<double>(prefilled_tokens) / prefill_seconds : 0;
}

double RequestMetrics::decode_tokens_per_second() const {
  return decode_seconds > 0 ? static_cast<double>(decode_tokens) / decode_seconds : 0;
}

RequestState::RequestState(Request r, std::shared_ptr<const Tokenizer> tokenizer)
    : request(std::move(r)),
      tokens(request.prompt),
      sampler(request.config.seed),
      text(std::move(tokenizer), request.config.stop_strings),
      arrived(Clock::now()) {
  metrics.prompt_tokens = static_cast<int64_t>(request.prompt.size());
}

}  // namespace mlc::serve
