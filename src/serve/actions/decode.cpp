// Begins one token of each running request.
#include "serve/actions/decode.h"

namespace mlc::serve {

bool decode(EngineState& state) {
  runtime::PagedCache& cache = state.model.cache();
  RunningStep step{.decodes = true};
  int64_t pages_needed = 0;
  for (auto& r : state.running) {
    if (r->generated() == 0) continue;
    bool new_page = cache.room(r->sequence) == 0;
    while (new_page && cache.free_pages() <= pages_needed && state.recent.evict_one(cache)) {
    }
    if (new_page && cache.free_pages() <= pages_needed) {
      state.end(*r, FinishReason::kLength);
      continue;
    }
    pages_needed += new_page;
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
