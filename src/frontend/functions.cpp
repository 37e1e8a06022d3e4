// Builds every exported function from a model's three hooks, and the module around them.
#include "frontend/functions.h"

#include <algorithm>
#include <span>
#include <unordered_set>

#include "base/check.h"
#include "base/draw.h"
#include "base/strings.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {
namespace {

using graph::Function;
using graph::GraphBuilder;
using graph::Module;
using graph::TensorType;
using graph::Value;

const Dim kRows = Dim::symbol("rows");
const Dim kBatch = Dim::symbol("batch");
const Dim kWanted = Dim::symbol("wanted");
const Dim kPages = Dim::symbol("pages");
const Dim kCopies = Dim::symbol("copies");

// Which rows a step function gives, and whether as logits; kTree: of rows that are trees, their logits
// as selected.
enum class StepResult : uint8_t { kSelectedLogits, kTreeLogits, kAllLogits, kHiddenStates, kTreeStates };

struct StepFunction {
  const char* name;
  StepResult result;
};

constexpr StepFunction kStepFunctions[] = {
    {"prefill", StepResult::kSelectedLogits},
    {"decode", StepResult::kAllLogits},
    {"batch_prefill", StepResult::kSelectedLogits},
    {"batch_decode", StepResult::kAllLogits},
    {"batch_verify", StepResult::kTreeLogits},
    {"prefill_to_last_hidden_states", StepResult::kHiddenStates},
    {"decode_to_last_hidden_states", StepResult::kHiddenStates},
    {"batch_prefill_to_last_hidden_states", StepResult::kHiddenStates},
    {"batch_decode_to_last_hidden_states", StepResult::kHiddenStates},
    {"batch_verify_to_last_hidden_states", StepResult::kTreeStates},
};

constexpr StepFunction kEncoderFunctions[] = {
    {"prefill", StepResult::kHiddenStates},
    {"batch_prefill", StepResult::kHiddenStates},
    {"prefill_to_last_hidden_states", StepResult::kHiddenStates},
    {"batch_prefill_to_last_hidden_states", StepResult::kHiddenStates},
};

constexpr StepFunction kEmbeddingFunctions[] = {
    {"prefill_to_last_hidden_states", StepResult::kHiddenStates},
    {"decode_to_last_hidden_states", StepResult::kHiddenStates},
    {"batch_prefill_to_last_hidden_states", StepResult::kHiddenStates},
    {"batch_decode_to_last_hidden_states", StepResult::kHiddenStates},
};

StepResult without_trees(StepResult result) {
  return result == StepResult::kTreeLogits   ? StepResult::kSelectedLogits
         : result == StepResult::kTreeStates ? StepResult::kHiddenStates
                                             : result;
}

Function& add_function(Module& module, const std::string& name) {
  module.functions.push_back(std::make_unique<Function>());
  module.functions.back()->name = name;
  return *module.functions.back();
}

Value* add_indices(Function& function, const std::string& name, const Dim& count) {
  return function.add_argument(name, TensorType::plain(DType::kI32, {count}));
}

Value* add_activations(Function& function, const std::string& name, int64_t columns) {
  return function.add_argument(name, TensorType::plain(DType::kF32, {kRows, Dim(columns)}));
}

Value* add_factors(Function& function, const char* name, size_t table, const Dim& count, int64_t rotary_dim) {
  return function.add_argument(table == 0 ? name : str(name, "_", table),
                               TensorType::plain(DType::kF32, {count, Dim(rotary_dim)}));
}

StepInputs add_step_inputs(Function& function, const std::vector<int64_t>& rotary_dims, int64_t window_keys,
                           bool trees) {
  StepInputs inputs;
  inputs.positions = add_indices(function, "positions", kRows);
  inputs.token_types = add_indices(function, "token_types", kRows);
  inputs.limits = add_indices(function, "limits", kRows);
  inputs.row_sequence = add_indices(function, "row_sequence", kRows);
  inputs.row_slots = add_indices(function, "row_slots", kRows);
  inputs.page_indptr = add_indices(function, "page_indptr", kBatch + Dim(1));
  inputs.page_ids = add_indices(function, "page_ids", kPages);
  if (trees) inputs.mask = add_indices(function, "mask", kRows);
  inputs.row_indptr = add_indices(function, "row_indptr", kBatch + Dim(1));
  inputs.slot_ids = add_indices(function, "slot_ids", kBatch);
  add_indices(function, kAdapterField, kRows);
  inputs.rotations.resize(rotary_dims.size());
  for (size_t i = 0; i < rotary_dims.size(); ++i)
    if (rotary_dims[i] > 0)
      inputs.rotations[i].rows = add_factors(function, "rope_factors", i, kRows, rotary_dims[i]);
  if (window_keys == 0) return inputs;
  inputs.skip_begin = add_indices(function, "skip_begin", kBatch);
  inputs.skip_count = add_indices(function, "skip_count", kBatch);
  for (size_t i = 0; i < rotary_dims.size(); ++i)
    if (rotary_dims[i] > 0)
      inputs.rotations[i].keys = add_factors(function, "key_factors", i, window_keys, rotary_dims[i]);
  return inputs;
}

// A function lists only what it uses.
void drop_unused_arguments(Function& function) {
  std::unordered_set<const Value*> used(function.results.begin(), function.results.end());
  for (const auto& node : function.nodes) used.insert(node->inputs.begin(), node->inputs.end());
  std::erase_if(function.arguments, [&](const Value* a) { return !used.contains(a); });
  std::erase_if(function.values,
                [&](const auto& v) { return v->kind == Value::Kind::kArgument && !used.contains(v.get()); });
}

void add_step(Module& module, const Model& model, const StepFunction& step, const FunctionOptions& options) {
  Function& function = add_function(module, step.name);
  GraphBuilder g(module, function);
  Value* x = add_activations(function, "input_embeds", options.hidden);
  const bool trees = step.result == StepResult::kTreeLogits || step.result == StepResult::kTreeStates;
  const bool states = step.result == StepResult::kHiddenStates || step.result == StepResult::kTreeStates;
  Value* wanted = step.result == StepResult::kTreeLogits || step.result == StepResult::kSelectedLogits
                      ? add_indices(function, "logit_positions", kWanted)
                      : nullptr;
  const StepInputs inputs = add_step_inputs(function, options.rotary_dims, options.window_keys, trees);
  x = model.transformer(g, x, inputs);
  if (wanted) x = g.take(x, wanted);
  if (!states) x = model.logits(g, x);
  function.results = {x};
  drop_unused_arguments(function);
}

void add_sample(Module& module, const Dim& vocab) {
  Function& function = add_function(module, "sample");
  GraphBuilder g(module, function);
  Value* logits = function.add_argument("logits", TensorType::plain(DType::kF32, {kWanted, vocab}));
  Value* settings =
      function.add_argument("draw_settings", TensorType::plain(DType::kF32, {kWanted, kDrawSettings}));
  function.results = g.op("sample", {g.op("softmax", {logits, settings})[0], settings});
}

}  // namespace

void add_functions(Module& module, const Model& model, const FunctionOptions& options) {
  if (options.draft_head) {
    Function& function = add_function(module, "get_logits");
    GraphBuilder g(module, function);
    function.results = model.head_logits(g, add_activations(function, "hidden_states", options.hidden));
    return;
  }
  {
    Function& function = add_function(module, "embed");
    GraphBuilder g(module, function);
    function.results = {model.embed(g, add_indices(function, "input_ids", kRows))};
  }
  const std::span<const StepFunction> steps =
      options.encoder  ? std::span<const StepFunction>(kEncoderFunctions)
      : options.embeds ? std::span<const StepFunction>(kEmbeddingFunctions)
                       : kStepFunctions;
  for (StepFunction step : steps) {
    if (!options.trees) step.result = without_trees(step.result);
    const StepFunction& first = *std::ranges::find(steps, step.result, &StepFunction::result);
    if (std::string_view(first.name) == step.name)
      add_step(module, model, step, options);
    else
      add_function(module, step.name).same_as = first.name;
  }
  if (options.encoder || options.embeds) return;
  {
    Function& function = add_function(module, "get_logits");
    GraphBuilder g(module, function);
    function.results = {model.logits(g, add_activations(function, "hidden_states", options.hidden))};
    if (options.sampling) add_sample(module, function.results[0]->type.shape[1]);
  }
  {
    Function& function = add_function(module, "batch_select_last_hidden_states");
    GraphBuilder g(module, function);
    Value* states = add_activations(function, "hidden_states", options.hidden);
    function.results = {g.take(states, add_indices(function, "logit_positions", kWanted))};
  }
  if (!module.states.empty()) {
    Function& function = add_function(module, "copy_pages");
    GraphBuilder g(module, function);
    Value* source = add_indices(function, "source_pages", kCopies);
    g.op("copy_pages", {source, add_indices(function, "target_pages", kCopies)}, {}, kKvState);
  }
  if (module.slot_states.empty()) return;
  Function& function = add_function(module, "copy_slots");
  GraphBuilder g(module, function);
  Value *source = add_indices(function, "source_slots", kCopies),
        *target = add_indices(function, "target_slots", kCopies);
  for (const graph::SlotState& state : module.slot_states)
    g.op("copy_slots", {source, target}, {}, state.name);
}

}  // namespace mlc::frontend
