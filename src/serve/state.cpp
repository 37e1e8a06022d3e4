// From a step to streamed text, and the end of requests.
#include "serve/state.h"

#include <algorithm>

#include "base/strings.h"
#include "base/threads.h"

namespace mlc::serve {

void EngineState::begin(RunningStep s) {
  step = std::move(s);
  step->begun = Clock::now();
  if (step->drafts.empty()) return begin_model();
  step->drafting = true;
  drafter->begin(step->drafts, step->catch_up);
}

bool EngineState::poll_drafts() {
  if (!drafter->poll()) return false;
  step->drafting = false;
  step->draft_seconds = std::chrono::duration<double>(Clock::now() - step->begun).count();
  metrics.draft_steps = drafter->steps();
  for (const Drafter::Job& job : step->drafts) {
    const auto at = std::ranges::find(step->requests, job.request) - step->requests.begin();
    propose(*job.request, step->sequences[static_cast<size_t>(at)]);
  }
  if (!drafter->status().is_ok()) {
    if (options.note)
      options.note(str(drafter->name(), " proposes nothing any more: ", drafter->status().message()));
    for (auto& r : running) drafter->release(*r);
    drafter.reset();
  }
  begin_model();
  return true;
}

// What its tree holds, where a grammar lets it come.
void EngineState::propose(RequestState& r, runtime::StepSequence& sequence) {
  if (r.constraint) {
    const auto known = static_cast<size_t>(r.draft.known);
    const size_t valid = r.constraint->valid(std::span(r.draft.tokens).subspan(known));
    r.draft.tokens.resize(known + valid);
    r.draft.parents.resize(known + valid);
  }
  const int64_t proposals = r.draft.proposals();
  if (proposals == 0) return;
  sequence = {r.sequence, r.draft.tokens, 1 + proposals, true, {}, r.adapter};
  if (!r.draft.is_chain()) sequence.parents = r.draft.parents;
}

void EngineState::begin_model() {
  bool any = false, on_device = model.samples();
  for (size_t i = 0; i < step->requests.size(); ++i) {
    const bool wanted = step->sequences[i].wanted > 0;
    const GenerationConfig& config = step->requests[i]->request.config;
    any |= wanted;
    on_device &= !wanted || !reads_logits(config);
    step->all_rows |= config.prompt_logprobs && !step->requests[i]->decoding();
  }
  step->drawn = any && on_device && !step->all_rows;
  std::vector<DrawSettings> settings;
  for (size_t i = 0; i < step->requests.size(); ++i)
    if (step->drawn && step->sequences[i].wanted > 0)
      add_draws(*step->requests[i], step->sequences[i], settings);
  const runtime::WantLogits want =
      step->all_rows ? runtime::WantLogits::kAll
      : any          ? (drafter && drafter->reads_hidden() ? runtime::WantLogits::kLastAndHidden
                                                           : runtime::WantLogits::kLast)
                     : runtime::WantLogits::kNone;
  Status begun = model.begin_step(step->sequences, want, settings);
  if (!begun.is_ok()) return finish(begun);
  prepare_masks();
}

void EngineState::prepare_masks() {
  const Clock::time_point start = Clock::now();
  bool any = false;
  for (size_t i = 0; i < step->requests.size(); ++i) {
    RequestState& r = *step->requests[i];
    if (!r.constraint || step->sequences[i].wanted == 0 || r.finish != FinishReason::kNone) continue;
    any = true;
    if (Status made = r.constraint->prepare(); !made.is_ok()) end(r, FinishReason::kError, made.message());
  }
  if (any) metrics.mask_seconds += std::chrono::duration<double>(Clock::now() - start).count();
}

// For each wanted row how its token is drawn: rows that are as deep in a tree take the same random number, so
// that a text is what it would be without proposals.
void EngineState::add_draws(const RequestState& r, const runtime::StepSequence& sequence,
                            std::vector<DrawSettings>& settings) const {
  Sampler ahead = r.sampler;
  if (!sequence.proposed) return settings.push_back(ahead.next(r.request.config));
  std::vector<DrawSettings> by_depth;
  for (int64_t node = r.draft.known - 1; node < r.draft.size(); ++node) {
    const auto depth = static_cast<size_t>(r.draft.depth(node));
    while (by_depth.size() <= depth) by_depth.push_back(ahead.next(r.request.config));
    settings.push_back(by_depth[depth]);
  }
}

bool EngineState::poll() {
  if (!step) return true;  // it failed
  if (step->drafting && !poll_drafts()) return false;
  if (!step) return true;  // it could not begin
  auto done = model.poll_step();
  if (done.is_ok() && !*done) return false;
  finish(done.status());
  return true;
}

void EngineState::wait() {
  if (step->drafting) return drafter->wait();
  if (Status waited = model.wait(); !waited.is_ok()) finish(waited);
}

std::span<const float> EngineState::logits_of_rows(int64_t first, int64_t count) const {
  const auto vocab = static_cast<size_t>(model.vocab_size());
  return model.result().logits.subspan(static_cast<size_t>(first) * vocab,
                                       static_cast<size_t>(count) * vocab);
}

void EngineState::keep_hidden(RequestState& r, int64_t row) {
  const std::span<const float> states = model.result().hidden;
  if (states.empty()) return;
  const auto hidden = static_cast<size_t>(model.hidden_size());
  const std::span<const float> state = states.subspan(static_cast<size_t>(row) * hidden, hidden);
  r.draft_text.hidden.assign(state.begin(), state.end());
  r.draft_text.hidden_at = static_cast<int64_t>(r.tokens.size()) - 1;
}

int32_t EngineState::token_of_row(RequestState& r, int64_t row, std::optional<Logprobs>& logprobs) {
  const GenerationConfig& config = r.request.config;
  logprobs.reset();
  if (drafter) keep_hidden(r, row);
  if (step->drawn) {
    r.sampler.next(config);  // the device took this one
    return model.result().tokens[static_cast<size_t>(row)];
  }
  if (r.constraint) {
    if (Status made = r.constraint->prepare(); !made.is_ok()) {
      end(r, FinishReason::kError, made.message());
      return -1;
    }
  }
  std::optional<RunningStep::Draw>& drawn = step->draws[static_cast<size_t>(row)];
  if (!drawn) drawn = draw(r, row, scores_.front());
  logprobs = std::move(drawn->logprobs);
  return drawn->token;
}

RunningStep::Draw EngineState::draw(RequestState& r, int64_t row, std::vector<float>& scores) const {
  const GenerationConfig& config = r.request.config;
  const std::span<const float> logits = logits_of_rows(row, 1);
  scores.assign(logits.begin(), logits.end());
  RunningStep::Draw drawn;
  drawn.token = r.sampler.sample(scores, config, r.counts, r.constraint ? &r.constraint->mask() : nullptr);
  if (config.logprobs) drawn.logprobs = logprobs_of(logits, drawn.token, config.top_logprobs);
  return drawn;
}

std::vector<int64_t> EngineState::wanted_rows() const {
  std::vector<int64_t> rows;
  int64_t row = 0;
  for (const runtime::StepSequence& s : step->sequences) {
    const int64_t unwanted = step->all_rows ? static_cast<int64_t>(s.tokens.size()) - s.wanted : 0;
    rows.push_back(row + unwanted);
    row += unwanted + s.wanted;
  }
  rows.push_back(row);
  return rows;
}

void EngineState::draw_beside() {
  const std::vector<int64_t> rows = wanted_rows();
  step->draws.assign(static_cast<size_t>(rows.back()), std::nullopt);
  std::vector<size_t> alone;
  for (size_t i = 0; i < step->requests.size(); ++i) {
    const RequestState& r = *step->requests[i];
    if (step->sequences[i].wanted == 0 || step->sequences[i].proposed || r.finish != FinishReason::kNone)
      continue;
    if (!r.constraint || r.constraint->prepared()) alone.push_back(i);
  }
  const runtime::DeviceProperties& device = model.device();
  const int threads = device.host_memory ? device.threads : usable_threads();
  scores_.resize(static_cast<size_t>(std::max(1, threads)));
  const size_t count = std::min(scores_.size(), alone.size());
  parallel_for(threads, static_cast<int64_t>(count), [&](int64_t strip) {
    for (auto n = static_cast<size_t>(strip); n < alone.size(); n += count) {
      const size_t i = alone[n];
      step->draws[static_cast<size_t>(rows[i])] =
          draw(*step->requests[i], rows[i], scores_[static_cast<size_t>(strip)]);
    }
  });
}

// `logits`: of the step's rows of the request. One that was preempted comes here again with the same rows.
void EngineState::add_prompt_logprobs(RequestState& r, std::span<const float> logits) {
  const auto vocab = static_cast<size_t>(model.vocab_size());
  for (size_t row = 0; row < logits.size() / vocab; ++row) {
    const size_t next = static_cast<size_t>(r.computed) + row + 1;
    if (next != r.prompt_logprobs.size() + 1 || next >= r.request.prompt.size()) continue;
    r.prompt_logprobs.push_back(
        logprobs_of(logits.subspan(row * vocab, vocab), r.tokens[next], r.request.config.top_logprobs));
  }
}

// Draws a token after the newest one, and after each proposal that was drawn. Returns how many of the tree's
// nodes, the first ones, are the text now.
int64_t EngineState::verify(RequestState& r, int64_t first_row) {
  const int64_t known = r.draft.known;
  int64_t kept = known, right = 0;
  for (int64_t node = known - 1; node >= 0 && r.finish == FinishReason::kNone;) {
    std::optional<Logprobs> logprobs;
    const int32_t token = token_of_row(r, first_row + node - (known - 1), logprobs);
    if (token < 0) break;
    const size_t before = r.tokens.size();
    accept_token(r, token, std::move(logprobs));
    if (r.tokens.size() == before) break;  // it ends the text
    node = r.draft.child(static_cast<int32_t>(node), token);
    if (node < 0) break;
    ++right;
    if (node == kept) ++kept;
  }
  r.accepted = known + right - kept;  // computed anew where they belong
  r.draft_length.put(r.draft.proposals(), right);
  metrics.draft_tokens += r.draft.proposals();
  metrics.accepted_draft_tokens += right;
  return kept;
}

void EngineState::finish(RequestState& r, const runtime::StepSequence& sequence, int64_t row) {
  const auto n = static_cast<int64_t>(sequence.tokens.size());
  const size_t before = r.tokens.size();
  if (sequence.proposed) {
    r.accepted = 0;
    const int64_t kept = r.finish == FinishReason::kNone ? verify(r, row) : r.draft.known;
    model.sequences().commit(r.sequence, kept);
    r.computed += kept;
  } else {
    const bool decodes = r.decoding();
    if (step->all_rows && r.request.config.prompt_logprobs)
      add_prompt_logprobs(r, logits_of_rows(row + sequence.wanted - n, n));
    r.computed += n;
    r.accepted = decodes && sequence.wanted == 0 ? r.pending() - 1 : 0;
    if (!decodes && sequence.wanted > 0) {
      // A next turn may have other tokens for the answer than were drawn, and goes on from here then.
      model.sequences().snapshot(r.sequence);
      prefixes.share(r.sequence, r.computed_tokens(), r.adapter);
    }
    if (sequence.wanted > 0 && r.finish == FinishReason::kNone) {
      std::optional<Logprobs> logprobs;
      const int32_t token = token_of_row(r, row, logprobs);
      if (token >= 0) accept_token(r, token, std::move(logprobs));
    }
    if (!decodes) return;
  }
  const auto drawn = static_cast<int64_t>(r.tokens.size() - before);
  r.metrics.decode_tokens += drawn;
  metrics.decode_tokens += drawn;
}

void EngineState::finish(const Status& status) {
  const double seconds = std::chrono::duration<double>(Clock::now() - step->begun).count();
  int64_t prefilled = 0, decoded = 0;
  const std::vector<int64_t> rows_of = wanted_rows();
  if (status.is_ok() && !step->drawn) draw_beside();
  for (size_t i = 0; i < step->requests.size(); ++i) {
    RequestState& r = *step->requests[i];
    const runtime::StepSequence& sequence = step->sequences[i];
    const bool decodes = sequence.proposed || r.decoding();
    (decodes ? decoded : prefilled) += static_cast<int64_t>(sequence.tokens.size());
    (decodes ? r.metrics.decode_seconds : r.metrics.prefill_seconds) += seconds;
    if (!status.is_ok()) {
      end(r, FinishReason::kError, status.message());
      r.finish = FinishReason::kError;  // also of one that was aborted meanwhile: its sequence is not kept
      continue;
    }
    finish(r, sequence, rows_of[i]);
    if (sequence.wanted > 0) jump_forward(r);
  }
  ++metrics.steps;
  const auto rows = static_cast<double>(prefilled + decoded);
  metrics.prefill_seconds += seconds * static_cast<double>(prefilled) / rows;
  metrics.decode_seconds += seconds * static_cast<double>(decoded) / rows;
  metrics.prefill_tokens += prefilled;
  metrics.most_step_tokens = std::max(metrics.most_step_tokens, prefilled + decoded);
  if (prefilled == 0 && status.is_ok()) step_cost.put(decoded, seconds - step->draft_seconds);
  step.reset();
  retire();
}

void EngineState::jump_forward(RequestState& r) {
  const GenerationConfig& config = r.request.config;
  // What is not computed before it is streamed has no log probabilities.
  if (!r.constraint || r.finish != FinishReason::kNone || config.logprobs || !config.jump_forward) return;
  auto forced = r.constraint->forced();
  if (!forced.is_ok()) return end(r, FinishReason::kError, forced.status().message());
  for (const int32_t token : *forced) {
    if (r.finish != FinishReason::kNone) return;
    const size_t before = r.tokens.size();
    accept_token(r, token);
    const auto added = static_cast<int64_t>(r.tokens.size() - before);
    r.accepted += added;
    metrics.jump_forward_tokens += added;
  }
}

void EngineState::accept_token(RequestState& r, int32_t token, std::optional<Logprobs> logprobs) {
  const GenerationConfig& config = r.request.config;
  if (r.generated() == 0)
    r.metrics.time_to_first_token = std::chrono::duration<double>(Clock::now() - r.arrived).count();
  const auto& stops = config.stop_token_ids;
  if (!config.ignore_eos && std::find(stops.begin(), stops.end(), token) != stops.end()) {
    end(r, FinishReason::kStop);
    return;
  }
  if (config.max_tokens == 0) {
    end(r, FinishReason::kLength);
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
  const bool first = r.generated() == 1;
  r.request.on_update({r.request.id,
                       *text,
                       token,
                       FinishReason::kNone,
                       "",
                       {},
                       std::move(logprobs),
                       first ? std::move(r.prompt_logprobs) : std::vector<Logprobs>()});
  if (r.text.stopped()) return end(r, FinishReason::kStop);
  if (r.constraint) {
    Status accepted = r.constraint->accept(token);
    if (!accepted.is_ok()) return end(r, FinishReason::kError, accepted.message());
    if (r.constraint->complete()) return end(r, FinishReason::kStop);
  }
  if ((config.max_tokens >= 0 && r.generated() >= config.max_tokens) ||
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
  if (reason == FinishReason::kStop) update.stop_string = r.text.stop();
  if (r.generated() == 0) update.prompt_logprobs = std::move(r.prompt_logprobs);
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
      prefixes.keep(model.sequences(), r->sequence, r->computed_tokens(), r->adapter);
    if (drafter) drafter->release(*r);
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
  if (drafter) drafter->release(*r);
  r->sequence = -1;
  r->computed = r->accepted = 0;
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
