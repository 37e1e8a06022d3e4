// From a step to streamed text, and the end of requests.
#include "serve/state.h"

#include <algorithm>

namespace mlc::serve {

Result<std::vector<int32_t>> EngineState::next_tokens(std::span<RequestState* const> requests,
                                                      std::span<const runtime::StepSequence> sequences) {
  std::vector<bool> complete;
  bool any = false, on_device = model.samples();
  for (size_t i = 0; i < requests.size(); ++i) {
    const RequestState& r = *requests[i];
    complete.push_back(r.computed + static_cast<int64_t>(sequences[i].tokens.size()) ==
                       static_cast<int64_t>(r.tokens.size()));
    any |= complete[i];
    on_device &= !complete[i] || !changes_logits(r.request.config);
  }
  std::vector<int32_t> tokens(requests.size(), -1);
  if (any && on_device) {
    std::vector<DrawSettings> settings(requests.size());
    for (size_t i = 0; i < requests.size(); ++i)
      if (complete[i]) settings[i] = requests[i]->sampler.next(requests[i]->request.config);
    ASSIGN_OR_RETURN(auto drawn, model.step_and_sample(sequences, settings));
    for (size_t i = 0; i < requests.size(); ++i)
      if (complete[i]) tokens[i] = drawn[i];
    return tokens;
  }
  ASSIGN_OR_RETURN(auto logits,
                   model.step(sequences, any ? runtime::WantLogits::kLast : runtime::WantLogits::kNone));
  const auto vocab = static_cast<size_t>(model.vocab_size());
  for (size_t i = 0; i < requests.size(); ++i) {
    if (!complete[i]) continue;
    RequestState& r = *requests[i];
    std::vector<float> scores(logits.begin() + static_cast<int64_t>(i * vocab),
                              logits.begin() + static_cast<int64_t>((i + 1) * vocab));
    tokens[i] = r.sampler.sample(scores, r.request.config, r.counts);
  }
  return tokens;
}

void EngineState::accept_token(RequestState& r, int32_t token) {
  const GenerationConfig& config = r.request.config;
  if (r.generated() == 0)
    r.metrics.time_to_first_token = std::chrono::duration<double>(Clock::now() - r.arrived).count();
  const auto& stops = config.stop_token_ids;
  if (!config.ignore_eos && std::find(stops.begin(), stops.end(), token) != stops.end()) {
    end(r, FinishReason::kStop);
    return;
  }
  r.tokens.push_back(token);
  r.counts[token]++;
  r.metrics.completion_tokens++;
  auto text = r.text.put(token);
  if (!text.is_ok()) {
    end(r, FinishReason::kError, text.status().message());
    return;
  }
  r.request.on_update({r.request.id, *text, token, FinishReason::kNone, "", {}});
  if (r.text.stopped()) {
    end(r, FinishReason::kStop);
  } else if ((config.max_tokens >= 0 && r.generated() >= config.max_tokens) ||
             static_cast<int64_t>(r.tokens.size()) >= model.context_tokens()) {
    end(r, FinishReason::kLength);
  } else if (config.end_cycles && r.cycle.put(std::span(r.tokens).subspan(r.request.prompt.size()))) {
    end(r, FinishReason::kCycle);
  }
}

void EngineState::end(RequestState& r, FinishReason reason, const std::string& error) {
  if (r.finish != FinishReason::kNone) return;
  r.finish = reason;
  StreamUpdate update{r.request.id, "", -1, reason, error, r.metrics};
  if (!r.text.stopped()) {
    auto rest = r.text.finish();
    if (rest.is_ok()) update.text = *rest;
  }
  metrics.finished_requests++;
  r.request.on_update(update);
}

void EngineState::retire() {
  for (auto& r : running) {
    if (r->finish == FinishReason::kNone) continue;
    if (r->finish == FinishReason::kError) {  // a step that failed may have left anything in the cache
      Status removed = model.cache().remove_sequence(r->sequence);
      internal_check(removed.is_ok(), removed.message());
    } else {
      std::vector<int32_t> cached(r->tokens.begin(), r->tokens.begin() + r->computed);
      recent.keep(model.cache(), r->sequence, std::move(cached));
    }
    r = nullptr;
  }
  std::erase(running, nullptr);
}

}  // namespace mlc::serve
