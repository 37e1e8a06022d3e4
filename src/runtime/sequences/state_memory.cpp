// Sizes of the pools of states.
#include "runtime/sequences/state_memory.h"

#include <algorithm>
#include <numeric>

#include "base/strings.h"

namespace mlc::runtime {
namespace {

int64_t ceildiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Pages for all tokens of all sequences. Each sequence may leave a part of its last page empty. With a
// sliding window two more may be used in part: one that ends with dropped tokens, after the sinks, and one
// that begins with them.
int64_t pages_for_all(const ModelLimits& limits, const SlidingWindow& sliding, int64_t page_size) {
  const int64_t partly_dropped = sliding.tokens > 0 ? 2 * limits.max_sequences : 0;
  return ceildiv(limits.total_tokens, page_size) + limits.max_sequences - 1 + partly_dropped;
}

// Of a sequence with n new tokens a step's rows see window - 1 + n, which begin and end inside of pages: at
// most ceil((window - 1) / page) + ceil(n / page) + 1 pages. The n of all sequences are at most a chunk.
int64_t pages_for_window(const ModelLimits& limits, int64_t window, int64_t page_size) {
  return limits.max_sequences * (ceildiv(window - 1, page_size) + 2) +
         ceildiv(limits.prefill_chunk, page_size);
}

Result<std::vector<PagePoolLimits>> find_groups(const Plan& plan, const SlidingWindow& sliding,
                                                const std::string& what) {
  std::vector<PagePoolLimits> groups;
  for (const PlanState& s : plan.states) {
    if (s.kind != PlanState::Kind::kPaged) continue;
    const auto group = static_cast<size_t>(s.group);
    const PagePoolLimits found{.page_size = s.page_size, .window = s.window, .sliding = sliding};
    if (group == groups.size() && group < kMostGroups && (s.window == 0 || sliding.tokens == 0))
      groups.push_back(found);
    else if (group >= groups.size() || groups[group].page_size != s.page_size ||
             groups[group].window != s.window)
      return Status::error(str(what, ": state '", s.name, "' is of block table ", s.group, " of pages of ",
                               s.page_size,
                               " tokens, which this mlc_llm cannot keep beside the states "
                               "before it; compile the model again"));
  }
  return groups;
}

}  // namespace

int64_t StateMemory::total_bytes() const { return std::accumulate(bytes.begin(), bytes.end(), int64_t{0}); }

std::string StateMemory::text(const Plan& plan) const {
  int64_t paged = 0, slots = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    (plan.states[i].kind == PlanState::Kind::kPaged ? paged : slots) += bytes[i];
  std::vector<std::string> pools;
  for (const PagePoolLimits& g : store.groups)
    pools.push_back(
        str(g.pages * g.page_size, " tokens", g.window > 0 ? str(" of windows of ", g.window) : ""));
  std::vector<std::string> parts;
  if (!pools.empty())
    parts.push_back(str("kv cache ", human_bytes(static_cast<double>(paged)), " (", join(pools, ", "), ")"));
  if (store.slots > 0)
    parts.push_back(
        str("recurrent state ", human_bytes(static_cast<double>(slots)), " (", store.slots, " slots)"));
  return join(parts, " + ");
}

Result<StateMemory> plan_states(const Plan& plan, const ModelLimits& limits, const SlidingWindow& sliding,
                                const std::string& what) {
  StateMemory memory;
  memory.longest_text = limits.context_tokens;
  ASSIGN_OR_RETURN(memory.store.groups, find_groups(plan, sliding, what));
  std::vector<PagePoolLimits>& groups = memory.store.groups;
  int64_t most_pages = 0;  // of all tokens
  for (PagePoolLimits& g : groups) {
    most_pages = g.pages = pages_for_all(limits, sliding, g.page_size);
    g.shuffle_seed = limits.shuffle_pages;
    if (g.window > 0)
      g.pages = std::min(g.pages, pages_for_window(limits, g.window, g.page_size));
    else
      memory.longest_text = std::min(memory.longest_text, g.pages * g.page_size);
    if (g.pages * g.page_size >= INT32_MAX)
      return Status::error("--overrides: context_window_size is more than a KV cache can index; lower it");
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    memory.dims.*kPoolPagesOf[g] = groups[g].pages;
    memory.dims.*kPagesOf[g] = std::max(most_pages, ceildiv(memory.longest_text, groups[g].page_size));
  }
  for (const PlanState& s : plan.states)
    if (s.kind == PlanState::Kind::kSlots) memory.store.slots = 1 + 2 * limits.max_sequences;
  memory.dims.pool_slots = memory.store.slots;
  for (const PlanState& s : plan.states) {
    const int64_t units =
        s.kind == PlanState::Kind::kSlots ? memory.store.slots : groups[static_cast<size_t>(s.group)].pages;
    memory.layer_bytes.push_back(units * s.unit_bytes());
    memory.bytes.push_back(s.layers * memory.layer_bytes.back());
  }
  return memory;
}

}  // namespace mlc::runtime
