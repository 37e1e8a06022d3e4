// Walks functions node by node, one weight at a time.
#include "weights/quantize/run_model.h"

#include <algorithm>
#include <unordered_map>

#include "base/check.h"
#include "frontend/config.h"
#include "graph/passes/eliminate_dead_values.h"
#include "graph/passes/fuse_epilogues.h"
#include "graph/passes/merge_equal_nodes.h"

namespace mlc::weights {
namespace {

using graph::Function;
using graph::Node;
using graph::Value;

bool is_linear(const Node& node) {
  return ((node.op == "matmul" && node.inputs.size() == 2) ||
          (node.op == "expert_matmul" && node.inputs.size() == 3)) &&
         node.inputs[1]->kind == Value::Kind::kParameter;
}

// The function's nodes on streams that have its arguments; values that are not its results go as soon as they
// are not needed.
Status run_function(const Function& function, std::span<Stream* const> streams, bool gives_logits,
                    const LinearStep& linear) {
  std::unordered_map<const Value*, size_t> last_use;
  for (size_t i = 0; i < function.nodes.size(); ++i)
    for (const auto* values : {&function.nodes[i]->inputs, &function.nodes[i]->region.operands})
      for (const Value* v : *values) last_use[v] = i;
  for (const Value* v : function.results) last_use[v] = function.nodes.size();
  for (size_t i = 0; i < function.nodes.size(); ++i) {
    const Node& node = *function.nodes[i];
    if (is_linear(node)) {
      ASSIGN_OR_RETURN(const bool goes_on, linear(node, gives_logits));
      if (!goes_on) return Status::ok();
    } else {
      for (Stream* stream : streams) stream->run(node);
    }
    for (const auto* values : {&node.inputs, &node.region.operands, &node.outputs})
      for (const Value* v : *values)
        if (auto use = last_use.find(v);
            v->kind != Value::Kind::kParameter && (use == last_use.end() || use->second <= i))
          for (Stream* stream : streams) stream->drop(v);
  }
  return Status::ok();
}

void pass_on(const Function& from, const Function& to, const std::string& argument,
             std::span<Stream* const> streams) {
  auto found = std::ranges::find(to.arguments, argument, &Value::name);
  internal_check(found != to.arguments.end(), to.name + " takes " + argument);
  for (Stream* stream : streams) stream->set(*found, stream->take_out(from.results[0]));
}

}  // namespace

Result<frontend::BuiltModel> build_streamed(frontend::ModelConfig& config) {
  if (config.sliding_window_size > 0) {
    frontend::ConfigOverrides none;
    none.sliding_window_size = -1;
    RETURN_IF_ERROR(frontend::apply_overrides(config, none));
  }
  frontend::BuiltModel built = frontend::build_model(config, *find_quant_scheme("q0f32"));
  graph::merge_equal_nodes(*built.module);
  graph::eliminate_dead_values(*built.module);
  graph::fuse_epilogues(*built.module);
  return built;
}

Status run_model(const graph::Module& module, std::span<Stream* const> streams, const LinearStep& linear) {
  const Function* embed = module.find_function("embed");
  const Function* step = module.find_function("prefill_to_last_hidden_states");
  const Function* logits = module.find_function("get_logits");
  internal_check(embed && step, "every model embeds and gives hidden states");
  RETURN_IF_ERROR(run_function(*embed, streams, false, linear));
  pass_on(*embed, *step, "input_embeds", streams);
  RETURN_IF_ERROR(run_function(*step, streams, false, linear));
  if (!logits) return Status::ok();
  pass_on(*step, *logits, "hidden_states", streams);
  return run_function(*logits, streams, true, linear);
}

int64_t linear_elements(const graph::Module& module) {
  int64_t elements = 0;
  for (const char* name : {"embed", "prefill_to_last_hidden_states", "get_logits"})
    if (const Function* function = module.find_function(name))
      for (const auto& node : function->nodes) {
        if (!is_linear(*node)) continue;
        int64_t size = 1;
        for (const auto& dim : node->inputs[1]->type.shape) size *= dim.constant();
        elements += size;
      }
  return elements;
}

void run_linear(Stream& stream, const Node& node, const ModelWeights& weights) {
  const std::string& name = node.inputs[1]->name;
  const ModelWeights::Shape& shape = weights.shape(name);
  if (node.op == "matmul") return stream.multiply(node, weights.rows(name, 0, shape.rows));
  const int64_t rows = shape.rows / shape.parts();
  for (int64_t e = 0; e < shape.parts(); ++e)
    stream.multiply_expert(node, stream.expert_rows(node, e), weights.rows(name, e * rows, (e + 1) * rows));
}

StreamParameters stream_parameters(const ModelWeights& weights) {
  return {
      [&weights](const std::string& name) { return weights.whole(name); },
      [&weights](const std::string& name, std::span<const int32_t> ids) { return weights.take(name, ids); }};
}

}  // namespace mlc::weights
