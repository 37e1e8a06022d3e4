// From flags and a manifest to the limits of an engine.
#include "runtime/limits.h"

#include <algorithm>

#include "base/strings.h"

namespace mlc::runtime {
namespace {

constexpr int64_t kDefaultPrefillChunk = 512;  // rows of a step when neither flag nor config says less

// Whether something of every token is kept.
bool keeps_tokens(const Plan& plan) {
  return std::ranges::find(plan.states, PlanState::Kind::kPaged, &PlanState::kind) != plan.states.end();
}

Result<ModelLimits> complete_context(const Module& module, ModelLimits limits) {
  const Json& manifest = module.manifest();
  const std::string& what = module.path();
  if (window_of(manifest).tokens > 0) {
    limits.context_tokens = INT64_MAX;
    return limits;
  }
  ASSIGN_OR_RETURN(int64_t context, get_int(manifest, "context_window_size", what));
  if (limits.context_tokens == 0) limits.context_tokens = context;
  if (context > 0 && limits.context_tokens > context)
    return Status::error(str("--overrides: context_window_size ", limits.context_tokens, " is more than the ",
                             context, " that ", what,
                             " was compiled for; lower it or compile the model again"));
  if (limits.context_tokens <= 0 && !keeps_tokens(module.plan())) limits.context_tokens = INT64_MAX;
  if (limits.context_tokens <= 0)
    return Status::error(
        str("--overrides: context_window_size is unlimited (-1) in ", what, "; set a positive one"));
  return limits;
}

}  // namespace

// Manifests say -1 where there is none.
SlidingWindow window_of(const Json& manifest) {
  int64_t tokens = find_int(manifest, "sliding_window_size").value_or(-1);
  if (tokens <= 0) return {};
  return {tokens, std::max<int64_t>(find_int(manifest, "attention_sink_size").value_or(0), 0)};
}

Result<ModelLimits> complete(const ModelLimits& wanted, const Module& module) {
  const Json& manifest = module.manifest();
  const std::string& what = module.path();
  ASSIGN_OR_RETURN(ModelLimits limits, complete_context(module, wanted));
  ASSIGN_OR_RETURN(int64_t chunk, get_int(manifest, "prefill_chunk_size", what));
  ASSIGN_OR_RETURN(int64_t batch, get_int(manifest, "max_batch_size", what));
  if (limits.max_sequences > batch)
    return Status::error(str("max_num_sequence ", limits.max_sequences, " is more than the ", batch, " that ",
                             what, " was compiled for"));
  const bool whole_texts = find_string(manifest, "attention") == "bidirectional";
  if (limits.prefill_chunk == 0)
    limits.prefill_chunk = whole_texts ? chunk : std::min<int64_t>(chunk, kDefaultPrefillChunk);
  limits.prefill_chunk =
      std::clamp<int64_t>(limits.prefill_chunk, limits.max_sequences, std::max(chunk, limits.max_sequences));
  limits.max_wanted = std::clamp(limits.max_wanted, limits.max_sequences, limits.prefill_chunk);
  int64_t window = window_of(manifest).tokens;
  if (limits.total_tokens == 0)
    limits.total_tokens = window > 0 ? window + limits.prefill_chunk : limits.context_tokens;
  limits.prefill_chunk = std::min(limits.prefill_chunk, std::max(limits.total_tokens, limits.max_sequences));
  limits.max_wanted = std::min(limits.max_wanted, limits.prefill_chunk);
  return limits;
}

}  // namespace mlc::runtime
