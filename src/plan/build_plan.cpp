// Optimised graph -> plan + kernels.
#include "plan/build_plan.h"

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "base/strings.h"
#include "base/user_error.h"
#include "graph/ops/registry.h"
#include "graph/passes/plan_memory.h"
#include "kernel/lower/lower.h"
#include "kernel/print.h"

namespace mlc {
namespace {

using graph::Value;

// The records of the weights folder that a parameter is made of (mlc-facts 2.5, 3.3).
void add_sources(const graph::TensorType& type, const std::string& name, PlanWeight& weight) {
  std::vector<int64_t> shape;
  for (const Dim& d : type.shape) shape.push_back(d.constant());
  constexpr std::string_view kWeight = "weight";
  const bool quantized = type.format.is_quantized();
  internal_check(!quantized || (name.ends_with(kWeight) && shape.size() >= 2),
                 "a quantized parameter is a matrix, or a stack of them, named X.weight");
  for (FormatRecord& record : format_records(type.format, shape)) {
    if (record.part == FormatRecord::Part::kInputScale) continue;  // inputs stay floats
    weight.sources.push_back(quantized ? name.substr(0, name.size() - kWeight.size()) + record.name : name);
    weight.source_dtypes.emplace_back(long_name(record.dtype));
    weight.source_shapes.push_back(std::move(record.shape));
  }
}

class PlanBuilder {
 public:
  PlanBuilder(const graph::Module& module, const Target& target) : module_(module), target_(target) {}

  BuiltPlan build() {
    add_states();
    find_gated();
    for (const auto& parameter : module_.parameters) add_weights(*parameter);
    for (const auto& function : module_.functions) add_body(*function);
    return std::move(out_);
  }

 private:
  ExprId expression(const Dim& dim) {
    auto [it, added] = expressions_.try_emplace(dim.text(), 0);
    if (added) it->second = out_.plan.add_expression(dim);
    return it->second;
  }

  // Nodes that differ may have the same kernel, for instance on other ranges of rows: it is kept and compiled
  // once.
  uint32_t add_kernel(const std::string& key, kernel::Function function) {
    auto [same, added] =
        kernel_texts_.try_emplace(kernel::print(function), static_cast<uint32_t>(out_.kernels.size()));
    uint32_t index = kernel_index_[key] = same->second;
    if (!added) return index;
    function.name = str("k", index, "_", function.name);
    out_.plan.kernels.push_back(function.name);
    out_.kernels.push_back(std::move(function));
    return index;
  }

  void add_states() {
    for (const graph::PagedState& s : module_.states) {
      PlanState state{.name = s.name,
                      .layers = s.layers,
                      .page_size = s.page_size,
                      .window = s.window,
                      .group = module_.group_of(s),
                      .parts = {{"key", s.kv_heads, s.key_dim, s.dtype}}};
      if (!s.latent) state.parts.push_back({"value", s.kv_heads, s.value_dim, s.dtype});
      add_state(std::move(state));
    }
    for (const graph::SlotState& s : module_.slot_states) {
      PlanState state{.name = s.name, .kind = PlanState::Kind::kSlots, .layers = s.layers, .parts = {}};
      for (const graph::SlotPart& part : s.parts) state.parts.push_back({part.name, 1, part.elements});
      add_state(std::move(state));
    }
  }

  void add_state(PlanState state) {
    state_index_[state.name] = static_cast<uint32_t>(out_.plan.states.size());
    out_.plan.states.push_back(std::move(state));
  }

  // Parameters whose matmuls gate, in every function alike.
  void find_gated() {
    for (const auto& function : module_.functions)
      for (const auto& node : function->nodes)
        if (node->op == "matmul" && node->region.accumulators() == 2) gated_.insert(node->inputs[1]);
  }

  // One weight, or one for each piece of a parameter that is too large for a binding.
  void add_weights(const Value& parameter) {
    if (is_lora_stack(parameter)) return add_stack(parameter);
    int halves = gated_.count(&parameter) ? 2 : 1;
    std::vector<kernel::WeightPiece> pieces =
        target_.max_binding_bytes ? kernel::weight_pieces(parameter.type, halves, target_.max_binding_bytes)
                                  : std::vector<kernel::WeightPiece>{};
    if (pieces.size() < 2) {
      weight_index_[&parameter] = add_weight(parameter.name, parameter.type, parameter.type);
      return;
    }
    // A piece has rows of each part: of a half, in every expert.
    const graph::Shape& shape = parameter.type.shape;
    const int64_t part = shape[shape.size() > 2 ? 1 : 0].constant() / halves;
    const int64_t parts = halves * (shape.size() > 2 ? shape[0].constant() : 1);
    for (const kernel::WeightPiece& piece : pieces) {
      pieces_[&parameter].push_back({std::make_unique<Value>(parameter), piece.first});
      Value* value = pieces_[&parameter].back().value.get();
      value->type = piece.type;
      weight_index_[value] = add_weight(parameter.name, piece.type, parameter.type);
      PlanWeight& weight = out_.plan.weights.back();
      weight.row_axis = parameter.type.format.transposed ? 1 : 0;
      for (int64_t p = 0; p < parts; ++p) weight.rows.push_back({p * part + piece.first, piece.rows});
    }
  }

  void add_stack(const Value& stack) {
    const int64_t bytes = stack.type.bytes().constant(), most = target_.max_binding_bytes;
    if (most > 0 && bytes > most)
      throw UserError(str("--lora-adapters: ", stack.name, " takes ", human_bytes(static_cast<double>(bytes)),
                          ", ", target_.name, " binds at most ", human_bytes(static_cast<double>(most)),
                          "; compile with fewer or with a lower --lora-rank"));
    weight_index_[&stack] = static_cast<uint32_t>(out_.plan.weights.size());
    out_.plan.weights.push_back(
        {.name = stack.name, .sources = {}, .source_dtypes = {}, .source_shapes = {}, .bytes = bytes});
  }

  // A weight of `type`, made from the records of a parameter of type `source`.
  uint32_t add_weight(const std::string& name, const graph::TensorType& type,
                      const graph::TensorType& source) {
    PlanWeight weight;
    weight.name = name;
    weight.bytes = kernel::layout_bytes(type);
    add_sources(source, name, weight);
    std::string key = "preproc " + type.text();
    auto known = kernel_index_.find(key);
    if (known != kernel_index_.end()) {
      weight.preproc_kernel = static_cast<int32_t>(known->second);
    } else if (auto function = kernel::lower_preproc(type, target_)) {
      weight.preproc_kernel = static_cast<int32_t>(add_kernel(key, std::move(*function)));
    }
    if (weight.preproc_kernel >= 0)
      weight.preproc_tiles = out_.kernels[static_cast<size_t>(weight.preproc_kernel)].tiles.constant();
    out_.plan.weights.push_back(std::move(weight));
    return static_cast<uint32_t>(out_.plan.weights.size() - 1);
  }

  PlanTensor tensor(const std::string& name, const graph::TensorType& type) {
    PlanTensor t{name, type.dtype(), {}};
    for (const Dim& d : type.shape) t.shape.push_back(expression(d));
    return t;
  }

  void add_body(const graph::Function& function) {
    if (!function.same_as.empty()) {
      PlanFunction same = *out_.plan.find_function(function.same_as);
      same.name = function.name;
      out_.plan.functions.push_back(std::move(same));
      return;
    }
    if (out_.plan.functions.empty() || out_.plan.functions.back().name != function.name) {
      PlanFunction f;
      f.name = function.name;
      for (const Value* a : function.arguments) f.arguments.push_back(tensor(a->name, a->type));
      for (const Value* r : function.results) f.results.push_back(tensor(r->name, r->type));
      out_.plan.functions.push_back(std::move(f));
    }
    graph::MemoryPlan memory = graph::plan_memory(function);
    place_values(function, memory);
    PlanBody body{.guards = {}, .arena_bytes = expression(memory.total), .calls = {}};
    for (const graph::Guard& g : function.guards)
      body.guards.push_back({out_.plan.add_symbol(g.symbol), g.min, g.max});
    for (const auto& node : function.nodes) {
      bool is_view = node->outputs.size() == 1 && memory.views.count(node->outputs[0]) != 0;
      if (!is_view) add_calls(function, *node, body.calls);
    }
    out_.plan.functions.back().bodies.push_back(std::move(body));
  }

  // Where each value of the function lives. A slice lives in its base, at a column offset.
  void place_values(const graph::Function& function, const graph::MemoryPlan& memory) {
    places_.clear();
    ExprId zero = expression(0);
    for (size_t i = 0; i < function.arguments.size(); ++i)
      places_[function.arguments[i]].buffer = {PlanBuffer::Space::kArgument, static_cast<uint32_t>(i), zero};
    for (size_t i = 0; i < function.results.size(); ++i)
      places_[function.results[i]].buffer = {PlanBuffer::Space::kResult, static_cast<uint32_t>(i), zero};
    for (const auto& value :
         function.values)  // in their order, so that the plan's numbers do not depend on addresses
      if (auto found = memory.offsets.find(value.get()); found != memory.offsets.end())
        places_[value.get()].buffer = {PlanBuffer::Space::kArena, 0, expression(found->second)};
    for (const auto& [value, view] : memory.views)
      places_[value] = {places_.at(view.base).buffer, {view.base->type.shape.back().constant(), view.column}};
  }

  PlanBuffer buffer_of(const Value* value) {
    if (value->kind == Value::Kind::kParameter)
      return {PlanBuffer::Space::kWeight, weight_index_.at(value), expression(0)};
    auto it = places_.find(value);
    internal_check(it != places_.end(), "a value without a place in memory");
    return it->second.buffer;
  }

  PlanBuffer state_buffer(const graph::Node& node) {
    const PlanState& state = out_.plan.states[state_index_.at(node.state)];
    Dim layer_bytes(state.unit_bytes());  // CPUs keep all layers of a page together
    if (state.kind == PlanState::Kind::kSlots)
      layer_bytes = Dim::symbol(kPoolSlots) * layer_bytes;
    else if (target_.is_gpu())
      layer_bytes = Dim::symbol(of_group(kPoolPages, state.group)) * layer_bytes;
    return {PlanBuffer::Space::kState, state_index_.at(node.state),
            expression(Dim(node.get_int_or("layer", 0)) * layer_bytes)};
  }

  // What the body's guards, and on GPUs those of the bodies that are asked before it, say of the node's rows.
  void set_row_range(const graph::Function& function, const graph::Node& node,
                     kernel::LowerOptions& options) {
    if (node.outputs.empty() || node.outputs[0]->type.shape.empty()) return;
    Dim rows = node.outputs[0]->type.shape[0];
    if (node.op == "expert_matmul" && rows.symbols() == std::vector<std::string>{"rows"})
      rows = Dim::symbol("rows");  // its slots are a multiple of them
    const graph::Guard guard = function.guard_of(rows);
    options.min_rows = guard.min;
    options.max_rows = guard.max;
    if (rows.is_const() || !target_.is_gpu()) return;
    for (const PlanBody& before : out_.plan.functions.back().bodies)
      if (before.guards.size() == 1 && rows == Dim::symbol(out_.plan.symbols[before.guards[0].symbol]))
        options.min_rows = std::max(options.min_rows, before.guards[0].max + 1);
  }

  // A node is one call, but one for each piece of a weight, and on GPUs, where all layers may be more than a
  // binding, one for each layer of a cache whose pages are copied.
  void add_calls(const graph::Function& function, const graph::Node& node, std::vector<PlanCall>& calls) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      auto cut = pieces_.find(node.inputs[i]);
      if (cut == pieces_.end()) continue;
      internal_check(graph::is_matmul(node) || node.op == "take",
                     "an op that takes no pieces of a weight: " + node.op);
      for (const Piece& piece : cut->second) {
        graph::Node part = node;
        part.inputs[i] = piece.value.get();
        part.attributes[kernel::kPieceAttribute] = piece.first;
        calls.push_back(call(function, part));
      }
      return;
    }
    if (node.op != "copy_pages" || !target_.is_gpu()) return calls.push_back(call(function, node));
    for (int64_t layer = 0; layer < module_.find_state(node.state)->layers; ++layer) {
      graph::Node part = node;
      part.attributes["layer"] = layer;
      calls.push_back(call(function, part));
    }
  }

  PlanCall call(const graph::Function& function, const graph::Node& node) {
    kernel::LowerOptions options{.target = &target_};
    set_row_range(function, node, options);
    PlanCall call;
    for (const std::vector<Value*>* operands : {&node.inputs, &node.region.operands})
      for (const Value* operand : *operands) {
        auto place = places_.find(operand);
        options.input_views.push_back(place == places_.end() ? kernel::View{} : place->second.view);
        call.buffers.push_back(buffer_of(operand));
      }
    if (!node.state.empty()) call.buffers.push_back(state_buffer(node));
    for (const Value* output : node.outputs) call.buffers.push_back(buffer_of(output));

    std::string key = kernel::kernel_key(node, module_, options);
    auto known = kernel_index_.find(key);
    call.kernel = known != kernel_index_.end()
                      ? known->second
                      : add_kernel(key, kernel::lower_node(node, module_, options).function);
    const Sizes& sizes = sizes_of(call.kernel);
    internal_check(sizes.buffers.size() == call.buffers.size(),
                   "a kernel's buffers must match its node: " + out_.kernels[call.kernel].name);
    for (size_t i = 0; i < sizes.buffers.size(); ++i) call.buffers[i].bytes = sizes.buffers[i];
    call.dims = sizes.dims;
    call.tiles = sizes.tiles;
    return call;
  }

  // What every call of a kernel has: bytes of its buffers, dimensions, tiles.
  struct Sizes {
    std::vector<ExprId> buffers, dims;
    ExprId tiles = 0;
  };

  const Sizes& sizes_of(uint32_t index) {
    if (sizes_.size() <= index) sizes_.resize(index + 1);
    if (sizes_[index]) return *sizes_[index];
    const kernel::Function& kernel = out_.kernels[index];
    Sizes& sizes = sizes_[index].emplace();
    for (const kernel::BufferRef& b : kernel.buffers)
      sizes.buffers.push_back(expression(b->size * size_of(b->element.dtype)));
    for (const std::string& name : kernel.dims) sizes.dims.push_back(expression(Dim::symbol(name)));
    sizes.tiles = expression(kernel.tiles);
    return sizes;
  }

  struct Place {
    PlanBuffer buffer;
    kernel::View view;
  };

  struct Piece {
    std::unique_ptr<Value> value;  // the parameter, with the piece's type
    int64_t first;
  };

  const graph::Module& module_;
  const Target& target_;
  BuiltPlan out_;
  std::unordered_set<const Value*> gated_;
  std::unordered_map<const Value*, std::vector<Piece>> pieces_;  // of parameters that are cut
  std::unordered_map<std::string, ExprId> expressions_;
  std::unordered_map<std::string, uint32_t> kernel_index_;  // by kernel_key
  std::unordered_map<std::string, uint32_t>
      kernel_texts_;                         // by the IR before passes, which its name is part of
  std::vector<std::optional<Sizes>> sizes_;  // by kernel
  std::map<std::string, uint32_t> state_index_;
  std::unordered_map<const Value*, uint32_t> weight_index_;
  std::unordered_map<const Value*, Place> places_;
};

}  // namespace

BuiltPlan build_plan(const graph::Module& module, const Target& target) {
  return PlanBuilder(module, target).build();
}

}  // namespace mlc
