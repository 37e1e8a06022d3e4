// From a mode to numbers.
#include "apps/cli/serve_limits.h"

#include <algorithm>
#include <limits>

#include "base/strings.h"

namespace mlc::cli {
namespace {

constexpr int64_t kMost = int64_t{1} << 40;
constexpr int64_t kMostDraft = 64;  // proposals for an answer

// Refused unless it has the value that changes nothing here.
struct UnbuiltKey {
  const char* key;
  const char* neutral;
  const char* why;
};
constexpr UnbuiltKey kUnbuilt[] = {
    {"max_history_size", "0", "states are kept whole"},
    {"prefill_mode", "hybrid", "answers are always written beside prompts"},
};

Result<int64_t> ranged(const std::string& key, const std::string& value, int64_t low) {
  ASSIGN_OR_RETURN(int64_t number, knob_int(str("--overrides: key '", key, "'"), value));
  if (number < low || number > kMost)
    return Status::error(str("--overrides: ", key, " is ", number, ", expected ", low, " or more"));
  return number;
}

Result<bool> take(const std::string& key, const std::string& value, ServeLimits& limits) {
  for (const UnbuiltKey& unbuilt : kUnbuilt) {
    if (key != unbuilt.key) continue;
    if (value != unbuilt.neutral)
      return Status::error(str("--overrides: ", key, "=", value, " is not possible, expected ",
                               unbuilt.neutral, ": ", unbuilt.why));
    return true;
  }
  if (key == "max_num_sequence") {
    ASSIGN_OR_RETURN(limits.max_num_sequence, ranged(key, value, 1));
  } else if (key == "max_total_seq_length") {
    ASSIGN_OR_RETURN(limits.max_total_seq_length, ranged(key, value, 1));
  } else if (key == "spec_draft_length") {
    ASSIGN_OR_RETURN(int64_t length, ranged(key, value, 0));
    if (length > kMostDraft)
      return Status::error(str("--overrides: ", key, " is ", length, ", expected at most ", kMostDraft));
    if (length > 0) limits.draft_length = length;  // 0: ours
  } else if (key == "spec_tree_width") {
    ASSIGN_OR_RETURN(limits.tree_width, ranged(key, value, 1));
  } else if (key == "prefix_cache_max_num_recycling_seqs") {
    ASSIGN_OR_RETURN(limits.kept_sequences, ranged(key, value, -1));
  } else if (key == "prefix_cache_mode") {
    if (value != "disable" && value != "radix")
      return Status::error(str("--overrides: prefix_cache_mode is '", value, "', expected disable or radix"));
    limits.prefix_cache = value == "radix";
  } else if (key == "gpu_memory_utilization") {
    ASSIGN_OR_RETURN(limits.gpu_memory_utilization,
                     knob_number("--overrides: key 'gpu_memory_utilization'", value));
    if (!(limits.gpu_memory_utilization > 0 && limits.gpu_memory_utilization <= 1))
      return Status::error(
          str("--overrides: gpu_memory_utilization is ", value, ", expected above 0 and at most 1"));
  } else {
    return false;
  }
  return true;
}

// Tokens of all requests together that the memory holds beside everything else.
Result<int64_t> tokens_in_memory(const ServeLimits& wanted, const runtime::Module& module,
                                 const runtime::Device& device, runtime::ModelLimits limits, int64_t single) {
  constexpr int64_t kProbe = 4096;  // tokens more, to see what one takes
  limits.total_tokens = single;
  ASSIGN_OR_RETURN(runtime::MemoryPlan one, runtime::Model::plan_memory(module, limits));
  limits.total_tokens = single + kProbe;
  ASSIGN_OR_RETURN(runtime::MemoryPlan more, runtime::Model::plan_memory(module, limits));
  const int64_t each = (more.total() - one.total() + kProbe - 1) / kProbe;
  if (each <= 0) return std::numeric_limits<int64_t>::max();
  const auto budget = static_cast<int64_t>(static_cast<double>(device.properties.memory_bytes) *
                                           wanted.gpu_memory_utilization) -
                      wanted.memory_used;
  const int64_t fixed = one.total() - each * single, tokens = (budget - fixed) / each;
  if (tokens >= wanted.memory_part) return tokens / wanted.memory_part;
  return Status::error(
      str("Insufficient GPU memory error: ", module.path(), " takes ",
          human_bytes(static_cast<double>(fixed)), " without a single token, the ", device.properties.name,
          " device gives ", human_bytes(static_cast<double>(std::max<int64_t>(budget, 0))),
          "; raise gpu_memory_utilization, or lower max_num_sequence or prefill_chunk_size in "
          "--overrides"));
}

// For an answer. Proposals of the text itself cost nothing, a draft model's a step each, heads' one together.
int64_t most_proposals(const ServeLimits& limits) {
  if (limits.speculative_mode == serve::SpeculativeMode::kDisable) return 0;
  if (limits.draft_length > 0) return limits.draft_length;
  if (limits.speculative_mode == serve::SpeculativeMode::kMedusa)
    return limits.draft_heads * limits.tree_width;
  return limits.speculative_mode == serve::SpeculativeMode::kNgram ? 16 : 8 * limits.tree_width;
}

// Whether the library can verify what is proposed.
Status check_proposals(const ServeLimits& wanted, const runtime::Module& module) {
  if (wanted.speculative_mode == serve::SpeculativeMode::kDisable) return Status::ok();
  const Plan& plan = module.plan();
  if (std::ranges::find(plan.states, PlanState::Kind::kSlots, &PlanState::kind) != plan.states.end())
    return Status::error(str("--speculative-mode: ", module.path(),
                             " is of a model with a recurrence, which cannot go back to before a wrong "
                             "proposal; expected disable"));
  const PlanFunction* verify = plan.find_function("batch_verify");
  const bool trees =
      verify && std::ranges::find(verify->arguments, "mask", &PlanTensor::name) != verify->arguments.end();
  if (wanted.tree_width > 1 && !trees)
    return Status::error(str("--overrides: spec_tree_width is ", wanted.tree_width, ", ", module.path(),
                             " takes no trees; compile it with --tree-verify, or leave the width at 1"));
  if (wanted.speculative_mode != serve::SpeculativeMode::kMedusa) return Status::ok();
  if (wanted.draft_length > wanted.draft_heads * wanted.tree_width)
    return Status::error(str("--overrides: spec_draft_length is ", wanted.draft_length, ", expected at most ",
                             wanted.draft_heads * wanted.tree_width, ": the head proposes ",
                             wanted.draft_heads, " tokens in a row",
                             wanted.tree_width > 1 ? str(" in ", wanted.tree_width, " ways") : ""));
  const std::string lacks = runtime::Model::lacks_for_hidden_states(plan, wanted.tree_width > 1);
  if (lacks.empty()) return Status::ok();
  return Status::error(
      str("--speculative-mode: ", module.path(), " cannot give hidden states to a draft head",
          " (its function ", lacks, " is missing or older); ",
          wanted.tree_width > 1 ? "compile it again with --tree-verify" : "compile it again"));
}

}  // namespace

Result<serve::SpeculativeMode> parse_speculative_mode(const std::string& text, const std::string& what) {
  if (text == "disable") return serve::SpeculativeMode::kDisable;
  if (text == "ngram") return serve::SpeculativeMode::kNgram;
  if (text == "small_draft") return serve::SpeculativeMode::kSmallDraft;
  if (text == "medusa") return serve::SpeculativeMode::kMedusa;
  const bool unbuilt = text == "eagle";
  return Status::error(str(what, ": ", unbuilt ? text + " is not built yet" : "found '" + text + "'",
                           ", expected disable, ngram, small_draft or medusa"));
}

std::vector<std::string> serve_override_keys() {
  std::vector<std::string> keys = {
      "attention_sink_size",      "context_window_size",   "gpu_memory_utilization",
      "max_num_sequence",         "max_total_seq_length",  "opt",
      "pipeline_parallel_stages", "prefill_chunk_size",    "prefix_cache_max_num_recycling_seqs",
      "prefix_cache_mode",        "sliding_window_size",   "spec_draft_length",
      "spec_tree_width",          "tensor_parallel_shards"};
  for (const UnbuiltKey& unbuilt : kUnbuilt) keys.push_back(unbuilt.key);
  std::ranges::sort(keys);
  return keys;
}

Result<std::string> take_engine_keys(const std::string& overrides, ServeLimits& limits) {
  ASSIGN_OR_RETURN(Knobs knobs, parse_knobs(overrides, "--overrides", serve_override_keys()));
  std::vector<std::string> rest;
  for (const auto& [key, value] : knobs) {
    ASSIGN_OR_RETURN(bool taken, take(key, value, limits));
    if (!taken) rest.push_back(key + "=" + value);
  }
  return join(rest, ";");
}

Result<runtime::ModelLimits> infer_limits(const ServeLimits& wanted, const runtime::Module& module,
                                          const runtime::Device& device, runtime::ModelLimits limits) {
  constexpr int64_t kLocalSequences = 4, kLocalTokens = 8192;
  RETURN_IF_ERROR(check_proposals(wanted, module));
  const int64_t batch = find_int(module.manifest(), "max_batch_size").value_or(1);
  limits.max_sequences =
      wanted.max_num_sequence.value_or(wanted.mode == "interactive" ? 1
                                       : wanted.mode == "local"     ? std::min(kLocalSequences, batch)
                                                                    : batch);
  limits.max_wanted = limits.max_sequences * (1 + most_proposals(wanted));
  limits.hidden_states = wanted.speculative_mode == serve::SpeculativeMode::kMedusa;
  ASSIGN_OR_RETURN(runtime::ModelLimits whole, runtime::complete(limits, module));
  const int64_t window = runtime::window_of(module.manifest()).tokens;
  const bool endless = whole.context_tokens == std::numeric_limits<int64_t>::max();
  const int64_t single = endless ? std::max(window, int64_t{0}) + whole.prefill_chunk : whole.context_tokens;
  ASSIGN_OR_RETURN(int64_t memory, tokens_in_memory(wanted, module, device, limits, single));
  int64_t all = wanted.mode == "server" ? single * limits.max_sequences : single;
  if (wanted.mode == "local") all = endless ? single * limits.max_sequences : std::min(all, kLocalTokens);
  limits.total_tokens = std::min(wanted.max_total_seq_length.value_or(all), memory);
  if (!endless) limits.context_tokens = std::min(single, limits.total_tokens);
  return limits;
}

serve::EngineOptions engine_options(const ServeLimits& limits, int64_t max_sequences) {
  const int64_t kept = limits.kept_sequences.value_or(max_sequences);
  return {.max_running = static_cast<size_t>(max_sequences),
          .max_kept = !limits.prefix_cache ? 0
                      : kept < 0           ? std::numeric_limits<size_t>::max()
                                           : static_cast<size_t>(kept),
          .step_tokens = 0,
          .speculative_mode = limits.speculative_mode,
          .spec_draft_length = most_proposals(limits),
          .spec_tree_width = limits.tree_width,
          .adapt_draft_length =
              limits.speculative_mode == serve::SpeculativeMode::kNgram || limits.draft_length == 0};
}

}  // namespace mlc::cli
