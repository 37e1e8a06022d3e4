// Begins one token of each running request.
#include "serve/actions/decode.h"

namespace mlc::serve {

bool decode(EngineState& state) {
  runtime::SequenceStore& store = state.model.sequences();
  RunningStep step{.decodes = true};
  runtime::StateCost spoken_for;
  for (auto& r : state.running) {
    if (r->generated() == 0) continue;
    runtime::StateCost needed = store.cost(r->sequence, 1);
    needed += spoken_for;
    while (!needed.fits_in(store.available()) && state.recent.make_room(store)) {
    }
    if (!needed.fits_in(store.available())) {
      state.end(*r, FinishReason::kLength);
      continue;
    }
    spoken_for = needed;
    step.requests.push_back(r.get());
    step.sequences.push_back({r->sequence, std::span(r->tokens).last(1)});
  }
  if (step.requests.empty()) {
    state.retire();
    return false;
  }
  state.begin(std::move(step));
  return true;
}

}  // namespace mlc::serve
