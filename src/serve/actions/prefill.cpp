// Begins parts of prompts.
#include "serve/actions/prefill.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc::serve {
namespace {

// Moves waiting requests to running, each with a sequence: a kept one that its prompt continues, or a new
// one, for which kept ones make way.
void admit(EngineState& state) {
  runtime::SequenceStore& store = state.model.sequences();
  while (!state.waiting.empty() && state.running.size() < state.max_running) {
    std::unique_ptr<RequestState> r = std::move(state.waiting.front());
    state.waiting.pop_front();
    if (auto match = state.recent.take(store, r->request.prompt)) {
      r->sequence = match->sequence;
      r->computed = match->tokens;
    } else {
      r->sequence = state.next_sequence++;
      while (!store.cost(r->sequence, 0).fits_in(store.available()) && state.recent.make_room(store)) {
      }
      Status added = store.add(r->sequence);
      internal_check(added.is_ok(), added.message());
    }
    r->metrics.prefilled_tokens = r->metrics.prompt_tokens - r->computed;
    state.running.push_back(std::move(r));
  }
}

// How many tokens of the request's prompt can run now: bounded by `room` rows and by the memory that is left
// beside what the step has spoken for; kept sequences make way.
int64_t tokens_that_fit(EngineState& state, const RequestState& r, int64_t room,
                        const runtime::StateCost& spoken_for) {
  runtime::SequenceStore& store = state.model.sequences();
  int64_t wanted = std::min(room, static_cast<int64_t>(r.tokens.size()) - r.computed);
  for (;;) {
    int64_t fits = store.tokens_that_fit(r.sequence, wanted, spoken_for);
    if (fits >= wanted || !state.recent.make_room(store)) return fits;
  }
}

}  // namespace

bool prefill(EngineState& state) {
  admit(state);
  int64_t room = state.model.prefill_chunk();
  runtime::StateCost spoken_for;
  RunningStep step;
  for (auto& r : state.running) {
    if (r->generated() > 0 || room == 0) continue;
    int64_t n = tokens_that_fit(state, *r, room, spoken_for);
    if (n == 0) {
      if (step.requests.empty())
        state.end(*r, FinishReason::kError,
                  "the KV cache is full; run fewer requests or raise context_window_size");
      continue;
    }
    spoken_for += state.model.sequences().cost(r->sequence, n);
    bool complete = r->computed + n == static_cast<int64_t>(r->tokens.size());
    step.requests.push_back(r.get());
    step.sequences.push_back(
        {r->sequence, std::span(r->tokens).subspan(static_cast<size_t>(r->computed), static_cast<size_t>(n)),
         complete});
    room -= n;
    if (!complete) break;  // the chunk is full
  }
  if (step.requests.empty()) {
    size_t before = state.running.size();
    state.retire();
    return state.running.size() != before;
  }
  state.begin(std::move(step));
  return true;
}

}  // namespace mlc::serve
