// Runs one token of each running request.
#include "serve/actions/decode.h"

namespace mlc::serve {

bool decode(EngineState& state) {
  runtime::PagedCache& cache = state.model.cache();
  std::vector<RequestState*> chosen;
  std::vector<runtime::StepSequence> steps;
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
    chosen.push_back(r.get());
    steps.push_back({r->sequence, std::span(r->tokens).last(1)});
  }
  if (chosen.empty()) {
    state.retire();
    return false;
  }
  auto start = Clock::now();
  auto tokens = state.next_tokens(chosen, steps);
  double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  for (size_t i = 0; i < chosen.size(); ++i) {
    RequestState& r = *chosen[i];
    if (!tokens.is_ok()) {
      state.end(r, FinishReason::kError, tokens.status().message());
      continue;
    }
    r.computed++;
    r.metrics.decode_seconds += seconds;
    r.metrics.decode_steps++;
    state.accept_token(r, (*tokens)[i]);
  }
  state.metrics.decode_seconds += seconds;
  state.metrics.decode_tokens += static_cast<int64_t>(chosen.size());
  state.retire();
  return true;
}

}  // namespace mlc::serve
