// Writes manifests.
#include "plan/manifest.h"

#include <algorithm>
#include <map>

#include "base/check.h"
#include "formats/library.h"
#include "frontend/functions.h"

namespace mlc {
namespace {

int64_t limit(const Json& mlc_config, const frontend::ModelConfig& config, const std::string& key,
              int64_t fallback) {
  if (auto value = find_int(mlc_config, key)) return *value;
  return config.has(key) ? config.get_int(key) : fallback;
}

Json parameters(const Plan& plan) {
  Json list = Json::array();
  const std::string* last = nullptr;
  for (const PlanWeight& w : plan.weights) {
    if (last && *last == w.name) continue;  // another piece of it
    last = &w.name;
    for (size_t i = 0; i < w.sources.size(); ++i) {
      Json preprocs = Json::array();
      if (w.preproc_kernel >= 0)
        preprocs.push_back({{"func_name", plan.kernels[static_cast<size_t>(w.preproc_kernel)]},
                            {"in_shape", w.source_shapes[i]},
                            {"out_shape", {w.bytes}},
                            {"out_dtype", "uint8"}});
      list.push_back({{"name", w.sources[i]},
                      {"shape", w.source_shapes[i]},
                      {"dtype", w.source_dtypes[i]},
                      {"preprocs", preprocs},
                      {"pipeline_stages", {0}}});
    }
  }
  return list;
}

Json tensors(const Plan& plan, const std::vector<PlanTensor>& items) {
  Json list = Json::array();
  for (const PlanTensor& t : items) {
    Json shape = Json::array();
    for (ExprId e : t.shape) shape.push_back(plan.expressions[e].text());
    list.push_back({{"name", t.name}, {"dtype", long_name(t.dtype)}, {"shape", shape}});
  }
  return list;
}

Json functions(const Plan& plan) {
  Json object = Json::object();
  for (const PlanFunction& f : plan.functions)
    object[f.name] = {{"arguments", tensors(plan, f.arguments)}, {"results", tensors(plan, f.results)}};
  return object;
}

// A field's name without that of its group: "page_ids" of "page_ids_1".
std::string_view without_group(std::string_view name) {
  const size_t end = name.find_last_not_of("0123456789");
  return end != name.npos && end + 1 < name.size() && name[end] == '_' ? name.substr(0, end) : name;
}

// The fields of a step's packed inputs that the functions use.
Json step_inputs(const Plan& plan) {
  std::vector<PlanTensor> fields;
  for (const PlanFunction& f : plan.functions)
    for (const PlanTensor& a : f.arguments)
      if (std::ranges::count(frontend::kStepFields, without_group(a.name)) > 0 &&
          std::ranges::none_of(fields, [&](const PlanTensor& known) { return known.name == a.name; }))
        fields.push_back(a);
  return tensors(plan, fields);
}

// What sequences keep between steps; bytes are those of one page or slot of one layer.
Json states(const Plan& plan) {
  Json list = Json::array();
  for (const PlanState& s : plan.states) {
    Json parts = Json::array();
    for (const PlanPart& part : s.parts)
      parts.push_back({{"name", part.name},
                       {"heads", part.heads},
                       {"elements", part.elements},
                       {"dtype", long_name(part.dtype)}});
    const bool paged = s.kind == PlanState::Kind::kPaged;
    Json state = {{"name", s.name}, {"kind", paged ? "paged" : "slots"}, {"layers", s.layers}};
    if (paged) state["page_size"] = s.page_size, state["window"] = s.window > 0 ? s.window : -1;
    state["parts"] = parts;
    state[paged ? "page_bytes" : "slot_bytes"] = s.unit_bytes();
    list.push_back(state);
  }
  return list;
}

Json lora(const LibraryFacts& library) {
  Json targets = Json::array();
  for (const frontend::AdapterTarget& t : library.adapter_targets) {
    Json parts = Json::array();
    for (const auto& part : t.parts) parts.push_back({{"module", part.module}, {"columns", part.columns}});
    Json target = {{"name", t.name}, {"in", t.in}, {"parts", parts}};
    if (!t.output_order.empty())
      target["output_dims"] = t.output_dims, target["output_order"] = t.output_order;
    if (t.scale != 1) target["scale"] = t.scale;
    targets.push_back(target);
  }
  return {{"adapters", library.adapters}, {"rank", library.adapter_rank}, {"targets", targets}};
}

// In MLC's words (mlc-facts 7.2).
std::string state_kind(const Plan& plan) {
  auto has = [&](PlanState::Kind kind) {
    return std::ranges::find(plan.states, kind, &PlanState::kind) != plan.states.end();
  };
  if (plan.states.empty()) return "none";
  if (!has(PlanState::Kind::kSlots)) return "kv_cache";
  return has(PlanState::Kind::kPaged) ? "hybrid" : "rnn_state";
}

// The most that one step of a library sees, of one sequence's context in all: the pool that an engine makes
// when nothing says more (runtime/model.h).
struct Limits {
  int64_t rows = 0, batch = 0, pages = 0;
};

int64_t most_pages(const Plan& plan, int64_t tokens, int64_t batch, bool window) {
  const auto paged = std::ranges::find(plan.states, PlanState::Kind::kPaged, &PlanState::kind);
  if (paged == plan.states.end()) return 0;
  const int64_t size = paged->page_size;
  // Each sequence may leave a part of its last page empty; with a window also of those beside the dropped
  // tokens.
  return (tokens + size - 1) / size + batch - 1 + (window ? 2 * batch : 0);
}

// Arena bytes of a body at the limits; 0 for one that no step of the function reaches.
int64_t arena_bytes(const Plan& plan, const PlanFunction& f, const PlanBody& b, const Limits& limits) {
  const bool decodes = f.name.find("decode") != std::string::npos;  // a row a sequence
  std::map<std::string, int64_t> symbols = {{"rows", decodes ? limits.batch : limits.rows},
                                            {"batch", limits.batch},
                                            {"wanted", limits.batch},
                                            {"pages", limits.pages},
                                            {"copies", limits.batch}};
  for (const PlanState& s : plan.states) symbols[of_group("pages", s.group)] = limits.pages;
  for (const PlanGuard& g : b.guards) {
    int64_t& value = symbols.at(plan.symbols[g.symbol]);
    if (g.max) value = std::min(value, g.max);
    if (value < g.min) return 0;
  }
  for (const char* fewer : {"batch", "wanted"}) symbols[fewer] = std::min(symbols[fewer], symbols["rows"]);
  auto bytes = plan.expressions[b.arena_bytes].evaluate(symbols);
  internal_check(bytes.has_value(), "the arena of ", f.name, " has no size at the limits");
  return *bytes;
}

// Of the hungriest body of each function.
Json memory_usage(const Plan& plan, const Limits& limits) {
  Json object = Json::object();
  for (const PlanFunction& f : plan.functions) {
    int64_t most = 0;
    for (const PlanBody& b : f.bodies) most = std::max(most, arena_bytes(plan, f, b, limits));
    object[f.name] = most;
  }
  return object;
}

}  // namespace

Json make_manifest(const Json& mlc_config, const frontend::ModelConfig& config, const QuantScheme& scheme,
                   const Plan& plan, const LibraryFacts& library) {
  const frontend::ModelShape shape = frontend::model_shape(config);
  Json m = {{"model_type", config.model_type}, {"quantization", scheme.name}};
  int64_t context = limit(mlc_config, config, "context_window_size", -1);
  int64_t chunk = limit(mlc_config, config, "prefill_chunk_size", 2048),
          batch = limit(mlc_config, config, "max_batch_size", 1);
  bool window = config.sliding_window_size > 0;
  if (context <= 0 && !window)  // of a class that says nothing of it beside a layer's window
    context = find_int(config.source_fields, "max_position_embeddings").value_or(-1);
  if (window)
    context = -1, chunk = config.get_int("prefill_chunk_size");  // texts have no end; chunks fit the window
  m["context_window_size"] = context;
  m["sliding_window_size"] = window ? config.sliding_window_size : -1;
  m["attention_sink_size"] =
      window ? config.attention_sink_size : limit(mlc_config, config, "attention_sink_size", -1);
  m["prefill_chunk_size"] = chunk;
  m["max_batch_size"] = batch;
  m["active_vocab_size"] = limit(mlc_config, config, "active_vocab_size", shape.vocab);
  m["tensor_parallel_shards"] = limit(mlc_config, config, "tensor_parallel_shards", 1);
  m["pipeline_parallel_stages"] = limit(mlc_config, config, "pipeline_parallel_stages", 1);
  m["disaggregation"] = false;
  m["kv_state_kind"] = state_kind(plan);
  m["model_task"] = frontend::gives_embeddings(config) ? "embedding" : "chat";
  m["attention"] = frontend::is_encoder(config) ? "bidirectional" : "causal";
  m["params"] = parameters(plan);
  m["states"] = states(plan);
  const auto kv = std::ranges::find(plan.states, PlanState::Kind::kPaged, &PlanState::kind);
  if (kv != plan.states.end())
    m["kv_cache"] = {{"num_hidden_layers", kv->layers},
                     {"num_attention_heads", shape.heads},
                     {"num_key_value_heads", kv->parts[0].heads},
                     {"head_dim", kv->parts[0].elements},
                     {"dtype", long_name(kv->parts[0].dtype)},
                     {"page_size", kv->page_size},
                     {"page_bytes", kv->unit_bytes()}};
  const int64_t tokens = window ? config.sliding_window_size + chunk : std::max(context, chunk);
  m["memory_usage"] =
      memory_usage(plan, {std::max(chunk, batch), batch, most_pages(plan, tokens, batch, window)});
  m["vocab_size"] = shape.vocab;
  m["hidden_size"] = shape.hidden;
  m["rope"] = Json::array();
  for (const frontend::RopeSpec& rope : frontend::rope_specs(config)) m["rope"].push_back(rope.to_json());
  m["step_inputs"] = step_inputs(plan);
  m["functions"] = functions(plan);
  if (library.adapters > 0) m["lora"] = lora(library);
  m["architecture"] = library.architecture;
  m["library"] = {{"abi_version", kLibraryAbiVersion},
                  {"kind", library.kind},
                  {"opt", "O" + std::to_string(library.opt_level)},
                  {"variants", library.variants}};
  return m;
}

}  // namespace mlc
