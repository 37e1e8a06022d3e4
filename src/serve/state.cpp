// From a step to streamed text, and the end of requests.
#include "serve/state.h"

#include <algorithm>

namespace mlc::serve {

void EngineState::begin(RunningStep s) {
  step = std::move(s);
  step->begun = Clock::now();
  bool any = false, on_device = model.samples();
  for (size_t i = 0; i < step->requests.size(); ++i) {
    const bool wanted = step->sequences[i].wanted;
    any |= wanted;
    on_device &= !wanted || !changes_logits(step->requests[i]->request.config);
  }
  step->drawn = any && on_device;
  std::vector<DrawSettings> settings;
  for (size_t i = 0; i < step->requests.size(); ++i)
    if (step->drawn && step->sequences[i].wanted)
      settings.push_back(step->requests[i]->sampler.next(step->requests[i]->request.config));
  Status begun = model.begin_step(step->sequences,
                                  any ? runtime::WantLogits::kLast : runtime::WantLogits::kNone, settings);
  if (!begun.is_ok()) finish(begun);
}

bool EngineState::poll() {
  if (!step) return true;  // it failed
  auto done = model.poll_step();
  if (done.is_ok() && !*done) return false;
  finish(done.status());
  return true;
}

void EngineState::wait() {
  if (Status waited = model.wait(); !waited.is_ok()) finish(waited);
}

// One for each request, -1 where none was wanted.
std::vector<int32_t> EngineState::next_tokens() {
  const runtime::StepResult& result = model.result();
  const auto vocab = static_cast<size_t>(model.vocab_size());
  std::vector<int32_t> tokens(step->requests.size(), -1);
  for (size_t i = 0, row = 0; i < tokens.size(); ++i) {
    if (!step->sequences[i].wanted) continue;
    RequestState& r = *step->requests[i];
    if (step->drawn) {
      tokens[i] = result.tokens[row++];
      continue;
    }
    const std::span<const float> logits = result.logits.subspan(row++ * vocab, vocab);
    std::vector<float> scores(logits.begin(), logits.end());
    tokens[i] = r.sampler.sample(scores, r.request.config, r.counts);
  }
  return tokens;
}

void EngineState::finish(const Status& status) {
  const double seconds = std::chrono::duration<double>(Clock::now() - step->begun).count();
  const std::vector<int32_t> tokens = status.is_ok() ? next_tokens() : std::vector<int32_t>();
  int64_t prefilled = 0, decoded = 0;
  for (size_t i = 0; i < step->requests.size(); ++i) {
    RequestState& r = *step->requests[i];
    const auto n = static_cast<int64_t>(step->sequences[i].tokens.size());
    const bool decodes = r.decoding();
    (decodes ? decoded : prefilled) += n;
    (decodes ? r.metrics.decode_seconds : r.metrics.prefill_seconds) += seconds;
    r.metrics.decode_steps += decodes;
    if (!status.is_ok()) {
      end(r, FinishReason::kError, status.message());
      r.finish = FinishReason::kError;  // also of one that was aborted meanwhile: its sequence is not kept
      continue;
    }
    r.computed += n;
    if (!decodes && step->sequences[i].wanted) {
      // A next turn may have other tokens for the answer than were drawn, and goes on from here then.
      model.sequences().snapshot(r.sequence);
      prefixes.share(r.sequence, r.computed_tokens());
    }
    if (tokens[i] >= 0 && r.finish == FinishReason::kNone) accept_token(r, tokens[i]);
  }
  const auto rows = static_cast<double>(prefilled + decoded);
  metrics.prefill_seconds += seconds * static_cast<double>(prefilled) / rows;
  metrics.decode_seconds += seconds * static_cast<double>(decoded) / rows;
  metrics.prefill_tokens += prefilled;
  metrics.decode_tokens += decoded;
  metrics.most_step_tokens = std::max(metrics.most_step_tokens, prefilled + decoded);
  step.reset();
  retire();
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
  if (step) return;
  for (auto& r : running) {
    if (r->finish == FinishReason::kNone) continue;
    if (r->finish == FinishReason::kError)  // a step that failed may have left anything in the states
      remove_sequence(*r);
    else
      prefixes.keep(model.sequences(), r->sequence, r->computed_tokens());
    r = nullptr;
    admits = true;
  }
  std::erase(running, nullptr);
}

void EngineState::preempt_last() {
  internal_check(!step, "preempt_last: a step is under way");
  std::unique_ptr<RequestState> r = std::move(running.back());
  running.pop_back();
  remove_sequence(*r);
  r->sequence = -1;
  r->computed = 0;
  r->metrics.preemptions++;
  metrics.preemptions++;
  waiting.push_front(std::move(r));
  admits = false;  // until another one ends: what it held is for those that run
}

void EngineState::remove_sequence(const RequestState& r) {
  prefixes.forget(r.sequence);
  Status removed = model.sequences().remove(r.sequence);
  internal_check(removed.is_ok(), removed.message());
}

}  // namespace mlc::serve
