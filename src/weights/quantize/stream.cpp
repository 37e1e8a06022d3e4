// Runs nodes on the rows of all windows.
#include "weights/quantize/stream.h"

#include <algorithm>
#include <stdexcept>

#include "base/check.h"
#include "base/strings.h"
#include "base/threads.h"
#include "base/user_error.h"
#include "frontend/functions.h"
#include "graph/ops/math.h"
#include "graph/ops/norm.h"
#include "graph/print.h"
#include "runtime/rope.h"
#include "weights/quantize/matrix.h"

namespace mlc::weights {
namespace {

using graph::HostTensor;
using graph::Node;
using graph::Value;

HostTensor integers(std::vector<int32_t> values) {
  return {DType::kI32, {static_cast<int64_t>(values.size())}, {}, std::move(values)};
}

HostTensor count_up(int64_t n) {
  std::vector<int32_t> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) values[size_t(i)] = static_cast<int32_t>(i);
  return integers(std::move(values));
}

int64_t columns_of(const HostTensor& t) { return t.elements() / std::max<int64_t>(1, t.shape[0]); }

// Rows [begin, end) of the first axis.
HostTensor rows_of(const HostTensor& t, int64_t begin, int64_t end) {
  HostTensor out{t.dtype, t.shape, {}, {}};
  const int64_t n = columns_of(t);
  out.shape[0] = end - begin;
  if (!t.floats.empty()) out.floats.assign(t.floats.begin() + begin * n, t.floats.begin() + end * n);
  if (!t.ints.empty()) out.ints.assign(t.ints.begin() + begin * n, t.ints.begin() + end * n);
  return out;
}

// What of a step is the same for a window of n rows whatever comes before it.
HostTensor window_argument(const std::string& name, int64_t n) {
  const int64_t pages = (n + frontend::kPageSize - 1) / frontend::kPageSize;
  if (name == "page_indptr") return integers({0, static_cast<int32_t>(pages)});
  if (name == "page_ids") return count_up(pages);
  if (name == "row_indptr") return integers({0, static_cast<int32_t>(n)});
  internal_check(name == "slot_ids", "a step's argument that calibration does not know: " + name);
  return integers({0});
}

}  // namespace

Windows Windows::first(size_t count) const {
  Windows some;
  some.begins.assign(begins.begin(),
                     begins.begin() + static_cast<int64_t>(std::min(count, this->count()) + 1));
  some.tokens.assign(tokens.begin(), tokens.begin() + some.rows());
  return some;
}

Result<StepArguments> step_arguments(const frontend::ModelConfig& config, const Windows& windows) {
  StepArguments a;
  const bool encoder = frontend::is_encoder(config);
  std::vector<int32_t> positions, limits;
  for (size_t w = 0; w < windows.count(); ++w)
    for (int64_t i = 0; i < windows.rows_of(w); ++i) {
      positions.push_back(static_cast<int32_t>(i));
      limits.push_back(static_cast<int32_t>(encoder ? windows.rows_of(w) : i + 1));
    }
  const std::vector<frontend::RopeSpec> specs = frontend::rope_specs(config);
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].rotary_dim == 0) continue;
    ASSIGN_OR_RETURN(runtime::RopeTable table, runtime::RopeTable::create(specs[i].to_json(), "calibration"));
    HostTensor factors = graph::make_floats({windows.rows(), specs[i].rotary_dim});
    float* to = factors.floats.data();
    for (size_t w = 0; w < windows.count(); ++w)
      for (int64_t p = 0; p < windows.rows_of(w); ++p, to += specs[i].rotary_dim)
        table.factors(p, windows.rows_of(w), to);
    a[i == 0 ? std::string("rope_factors") : str("rope_factors_", i)] = std::move(factors);
  }
  a["row_slots"] = integers(positions);
  a["input_ids"] = integers(windows.tokens);
  a["row_sequence"] = integers(std::vector<int32_t>(positions.size()));
  a["token_types"] = a["row_sequence"];
  a["positions"] = integers(std::move(positions));
  a["limits"] = integers(std::move(limits));
  return a;
}

Stream::Stream(const graph::Module& module, const Windows& windows, const StepArguments& arguments,
               StreamParameters parameters, int threads)
    : module_(module),
      windows_(windows),
      arguments_(arguments),
      parameters_(std::move(parameters)),
      threads_(threads) {}

const HostTensor& Stream::value(const Value* v) const {
  if (auto it = values_.find(v); it != values_.end()) return it->second;
  auto it = arguments_.find(v->name);
  internal_check(v->kind == Value::Kind::kArgument && it != arguments_.end(),
                 str("%", v->name, " has no value"));
  return it->second;
}

void Stream::drop(const Value* v) {
  auto it = values_.find(v);
  if (it == values_.end()) return;
  constexpr size_t kMost = 4;  // of a size; those that nothing asks for again must not pile up
  if (std::vector<float>& floats = it->second.floats; !floats.empty() && free_.count(floats.size()) < kMost)
    free_.emplace(floats.size(), std::move(floats));
  values_.erase(it);
}

HostTensor Stream::fresh(std::vector<int64_t> shape) const {
  HostTensor t{DType::kF32, std::move(shape), {}, {}};
  const auto size = static_cast<size_t>(t.elements());
  if (auto it = free_.find(size); it != free_.end())
    t.floats = std::move(free_.extract(it).mapped());
  else
    t.floats.resize(size);
  return t;
}

HostTensor Stream::take_out(const Value* v) {
  HostTensor value = std::move(values_.at(v));
  values_.erase(v);
  return value;
}

void Stream::run(const Node& node) {
  if (node.op == "map") return run_map(node);
  if (node.op == "kv_append") return run_append(node);
  if (node.op == "attention" && run_attention(node)) return;
  if (node.op == "take" && node.inputs[0]->kind == Value::Kind::kParameter)
    return set(node.outputs[0], parameters_.rows(node.inputs[0]->name, value(node.inputs[1]).ints));
  run_windows(node);
}

Stream::Operands Stream::region_operands(const Node& node, std::vector<HostTensor>& kept) const {
  kept.reserve(node.region.operands.size());
  Operands operands;
  for (const Value* v : node.region.operands) {
    if (v->kind == Value::Kind::kParameter) kept.push_back(parameters_.whole(v->name));
    operands.push_back(v->kind == Value::Kind::kParameter ? &kept.back() : &value(v));
  }
  return operands;
}

void Stream::run_map(const Node& node) {
  std::vector<HostTensor> kept;
  const Operands operands = region_operands(node, kept);
  const HostTensor& x = value(node.inputs[0]);
  const int64_t rows = x.shape[0], n = x.shape[1], out_columns = n / node.region.accumulators();
  HostTensor out = fresh({rows, out_columns});
  parallel_for(threads_, rows, [&](int64_t r) {
    apply_region_fast(node.region, operands, r, {x.floats.data() + r * n, size_t(n)},
                      out.floats.data() + r * out_columns);
  });
  set(node.outputs[0], std::move(out));
}

HostTensor Stream::times(const Node& node, const HostTensor& x, std::span<const float> weight,
                         const Operands& operands) const {
  const int64_t rows = x.shape[0], k = x.shape[1], n = static_cast<int64_t>(weight.size()) / k;
  const int64_t columns = n / node.region.accumulators();
  HostTensor out = fresh({rows, columns});
  multiply_by_rows(threads_, rows, n, k, x.floats.data(), weight.data(),
                   [&](int64_t begin, int64_t count, const float* products) {
                     for (int64_t r = 0; r < count; ++r)
                       apply_region_fast(node.region, operands, begin + r, {products + r * n, size_t(n)},
                                         out.floats.data() + (begin + r) * columns);
                   });
  return out;
}

void Stream::multiply(const Node& node, std::span<const float> weight) {
  std::vector<HostTensor> kept;
  const Operands operands = region_operands(node, kept);
  set(node.outputs[0], times(node, value(node.inputs[0]), weight, operands));
}

HostTensor Stream::columns(const Node& node, std::span<const float> weight, int64_t begin) const {
  const HostTensor& x = value(node.inputs[0]);
  const int64_t all = node.outputs[0]->type.shape[1].constant(),
                count = static_cast<int64_t>(weight.size()) / x.shape[1];
  internal_check(node.region.accumulators() == 1, "a result whose columns are rows of the weight");
  std::vector<HostTensor> kept, parts;
  Operands operands = region_operands(node, kept);
  parts.reserve(operands.size());
  for (const HostTensor*& operand : operands)
    if (operand->shape.back() == all && all > 1) {
      internal_check(operand->shape.size() == 1, "an operand of the final linear that has rows");
      parts.push_back(rows_of(*operand, begin, begin + count));
      operand = &parts.back();
    }
  return times(node, x, weight, operands);
}

Stream::ExpertRows Stream::expert_rows(const Node& node, int64_t expert) const {
  const HostTensor &x = value(node.inputs[0]), &ids = value(node.inputs[2]);
  const int64_t share = ids.elements() / std::max<int64_t>(1, x.shape[0]);
  ExpertRows found;
  std::vector<int32_t> rows;
  for (size_t s = 0; s < ids.ints.size(); ++s) {
    if (ids.ints[s] != expert) continue;
    found.slots.push_back(static_cast<int64_t>(s));
    rows.push_back(static_cast<int32_t>(static_cast<int64_t>(s) / share));
  }
  found.x = graph::take_rows(x, rows);
  return found;
}

void Stream::multiply_expert(const Node& node, const ExpertRows& rows, std::span<const float> weight) {
  const Value* result = node.outputs[0];
  const int64_t columns = result->type.shape[1].constant();
  if (!values_.contains(result)) set(result, graph::make_floats({value(node.inputs[2]).elements(), columns}));
  if (rows.slots.empty()) return;
  std::vector<HostTensor> kept;
  const HostTensor y = times(node, rows.x, weight, region_operands(node, kept));
  for (size_t i = 0; i < rows.slots.size(); ++i)
    std::copy_n(y.floats.begin() + static_cast<int64_t>(i) * columns, columns,
                values_.at(result).floats.begin() + rows.slots[i] * columns);
}

void Stream::run_append(const Node& node) {
  const graph::PagedState& cache = *module_.find_state(node.state);
  const HostTensor &first = value(node.inputs[0]), &second = value(node.inputs[1]);
  appended_.node = &node, appended_.keys = first, appended_.values = second;  // into the memory of the last
  if (!cache.latent) return;
  appended_.rotated = second;
  const int64_t wide = cache.value_dim, rest = cache.key_dim - wide, heads = first.shape[0] * cache.kv_heads;
  appended_.values = first;
  appended_.keys = graph::make_floats({first.shape[0], cache.kv_heads * cache.key_dim});
  for (int64_t h = 0; h < heads; ++h) {
    float* key = appended_.keys.floats.data() + h * cache.key_dim;
    std::copy_n(first.floats.data() + h * wide, wide, key);
    std::copy_n(second.floats.data() + h * rest, rest, key + wide);
  }
}

// False where the node has what DenseAttention has not.
bool Stream::run_attention(const Node& node) {
  const size_t inputs = node.get_bool_or("sinks", false) ? 6 : 5;
  const bool known = std::ranges::all_of(node.attributes, [](const auto& a) {
    const std::string& name = a.first;
    return name == "layer" || name == "heads" || name == "scale" || name == "window" || name == "sinks" ||
           name == "alibi" || name == "rotary_dim" || name == "interleaved";
  });
  if (!known || node.inputs.size() != inputs) return false;
  internal_check(appended_.node && appended_.node->state == node.state &&
                     appended_.node->get_int("layer") == node.get_int("layer"),
                 "keys are appended just before they are attended to");
  const graph::PagedState& cache = *module_.find_state(node.state);
  HostTensor sinks;
  DenseAttention shape{node.get_int("heads"), cache.kv_heads, cache.key_dim, cache.value_dim,
                       node.get_double("scale")};
  shape.scores = &node.region;
  if (node.attributes.count("alibi")) shape.alibi = node.get_double("alibi");
  shape.window = node.get_int_or("window", 0);
  if (inputs == 6) {
    sinks = node.inputs[5]->kind == Value::Kind::kParameter ? parameters_.whole(node.inputs[5]->name)
                                                            : value(node.inputs[5]);
    shape.sinks = sinks.floats.data();
  }
  const HostTensor &q = value(node.inputs[0]), &limits = value(node.inputs[2]);
  HostTensor out = fresh({q.shape[0], shape.heads * shape.value_dim});
  parallel_for(threads_, static_cast<int64_t>(windows_.count()) * shape.heads, [&](int64_t i) {
    const auto w = static_cast<size_t>(i / shape.heads);
    const int64_t row = windows_.begins[w];
    attend_head(shape, i % shape.heads, windows_.rows_of(w), limits.ints.data() + row,
                q.floats.data() + row * q.shape[1],
                appended_.keys.floats.data() + row * appended_.keys.shape[1],
                appended_.values.floats.data() + row * appended_.values.shape[1],
                out.floats.data() + row * out.shape[1]);
  });
  set(node.outputs[0], std::move(out));
  return true;
}

// A value's rows of a window; what has no rows is made for it.
HostTensor Stream::part(const Value* v, size_t window) const {
  if (v->kind == Value::Kind::kArgument && !values_.contains(v) && !arguments_.contains(v->name))
    return window_argument(v->name, windows_.rows_of(window));
  const HostTensor& all = value(v);
  const int64_t share = all.shape[0] / windows_.rows();
  return rows_of(all, windows_.begins[window] * share, windows_.begins[window + 1] * share);
}

std::vector<HostTensor> Stream::run_window(const Node& node, size_t window,
                                           const std::map<const Value*, HostTensor>& parameters) const {
  std::vector<HostTensor> parts;
  std::vector<const HostTensor*> inputs, operands;
  parts.reserve(node.inputs.size() + node.region.operands.size() + 4);
  auto add = [&](const Value* v, std::vector<const HostTensor*>& to) {
    if (auto it = parameters.find(v); it != parameters.end()) return to.push_back(&it->second);
    parts.push_back(part(v, window));
    to.push_back(&parts.back());
  };
  for (const Value* v : node.inputs) add(v, inputs);
  for (const Value* v : node.region.operands) add(v, operands);
  Node local = node;
  std::map<std::string, graph::HostState> states;
  graph::InterpretContext context{states};
  if (!node.state.empty()) {  // of one layer, empty
    local.attributes["layer"] = int64_t{0};
    graph::HostState& state = states[node.state];
    const int64_t n = windows_.rows_of(window);
    if (const graph::PagedState* cache = module_.find_state(node.state)) {
      state.cache = *cache, state.cache.layers = 1;
      state.pages = (n + cache->page_size - 1) / cache->page_size;
      state.values.resize(static_cast<size_t>(state.pages * cache->page_elements()));
      Node append = *appended_.node;
      append.attributes["layer"] = int64_t{0};
      std::vector<const HostTensor*> stored;
      // Its own operands may be gone: nothing else reads them.
      const bool latent = cache->latent;
      for (const HostTensor* t :
           {latent ? &appended_.values : &appended_.keys, latent ? &appended_.rotated : &appended_.values}) {
        parts.push_back(rows_of(*t, windows_.begins[window], windows_.begins[window + 1]));
        stored.push_back(&parts.back());
      }
      for (size_t i = 2; i < append.inputs.size(); ++i) add(append.inputs[i], stored);
      graph::find_op("kv_append")->interpret(append, stored, {}, context);
    } else {
      state.slots = *module_.find_slot_state(node.state), state.slots.layers = 1, state.pages = 1;
      state.values.resize(static_cast<size_t>(state.slots.slot_elements()));
    }
  }
  return graph::find_op(node.op)->interpret(local, inputs, operands, context);
}

// The windows' rows of an output, one after the other.
HostTensor Stream::joined(std::vector<std::vector<HostTensor>>& results, size_t output) const {
  const HostTensor& first = results[0][output];
  std::vector<int64_t> shape = first.shape, begins(results.size());
  for (size_t w = 1; w < results.size(); ++w) begins[w] = shape[0], shape[0] += results[w][output].shape[0];
  if (!first.ints.empty() || first.floats.empty()) {  // ids, and codes with scales
    HostTensor all = std::move(results[0][output]);
    for (size_t w = 1; w < results.size(); ++w) {
      const HostTensor& next = results[w][output];
      all.floats.insert(all.floats.end(), next.floats.begin(), next.floats.end());
      all.ints.insert(all.ints.end(), next.ints.begin(), next.ints.end());
    }
    all.shape = shape;
    return all;
  }
  const int64_t share = columns_of(first);
  HostTensor all = fresh(shape);
  parallel_for(threads_, static_cast<int64_t>(results.size()), [&](int64_t w) {
    HostTensor& part = results[size_t(w)][output];
    std::ranges::copy(part.floats, all.floats.begin() + begins[size_t(w)] * share);
    part = {};
  });
  return all;
}

void Stream::run_windows(const Node& node) {
  std::map<const Value*, HostTensor> parameters;
  for (const auto* values : {&node.inputs, &node.region.operands})
    for (const Value* v : *values)
      if (v->kind == Value::Kind::kParameter && !parameters.contains(v))
        parameters[v] = parameters_.whole(v->name);
  std::vector<std::vector<HostTensor>> results(windows_.count());
  std::vector<std::string> errors(windows_.count());
  parallel_for(threads_, static_cast<int64_t>(windows_.count()), [&](int64_t w) {
    try {
      results[size_t(w)] = run_window(node, static_cast<size_t>(w), parameters);
    } catch (const std::invalid_argument& e) {
      errors[size_t(w)] = e.what();
    }
  });
  for (const std::string& error : errors)
    if (!error.empty()) throw UserError(str("--calibration: ", graph::print(node), ": ", error));
  for (size_t o = 0; o < node.outputs.size(); ++o) {
    set(node.outputs[o], joined(results, o));
  }
}

}  // namespace mlc::weights
