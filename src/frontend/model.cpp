// Builds a module: parameters and functions of a config's model over a paged KV cache.
#include "frontend/model.h"

#include <algorithm>

#include "base/strings.h"
#include "base/user_error.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {

Json RopeSpec::to_json() const {
  return {{"kind", kind}, {"rotary_dim", rotary_dim}, {"theta", theta}, {"scaling", scaling}};
}

bool is_encoder(const ModelConfig& config) { return model_definition(config.model_type).encoder; }

bool gives_embeddings(const ModelConfig& config) {
  const ModelDefinition& definition = model_definition(config.model_type);
  return definition.encoder || definition.embeds;
}

bool is_draft_head(const ModelConfig& config) { return model_definition(config.model_type).draft_head; }

RopeSpec rope_spec(const ModelConfig& config) { return model_definition(config.model_type).rope(config); }

std::vector<RopeSpec> rope_specs(const ModelConfig& config) {
  const ModelDefinition& definition = model_definition(config.model_type);
  std::vector<RopeSpec> specs = {definition.rope(config)};
  if (definition.local_rope) specs.push_back(definition.local_rope(config));
  return specs;
}

const Json& stated_scaling(const ModelConfig& config) {
  static const Json none;
  for (const Json* fields : {&config.source_fields, &config.fields})
    if (const Json* scaling = find(*fields, "rope_scaling")) return *scaling;
  return none;
}

RopeSpec make_rope_spec(const ModelConfig& config, int64_t rotary_dim, const std::string& theta) {
  RopeSpec spec{.kind = "default", .rotary_dim = rotary_dim, .theta = config.get_double(theta)};
  spec.scaling = stated_scaling(config);
  spec.kind = find_string(spec.scaling, "rope_type").value_or("default");
  return spec;
}

RopeSpec rope_of_heads(const ModelConfig& config) {
  return make_rope_spec(config, config.get_int("head_dim"));
}

BuiltModel build_model(const ModelConfig& config, const QuantScheme& scheme, const BuildOptions& options) {
  const ModelDefinition& definition = model_definition(config.model_type);
  const ModelShape shape = model_shape(config);
  BuiltModel built;
  built.module = std::make_unique<graph::Module>();
  built.module->name = config.model_type;
  if (shape.heads > 0) {
    graph::PagedState cache = graph::PagedState::of_heads(kKvState, shape.layers, shape.kv_heads,
                                                          shape.head_dim, kPageSize, options.kv_dtype);
    if (definition.shape_cache) definition.shape_cache(config, cache);
    const bool in_pairs = cache.key_dim % 2 == 0 && cache.key_dim == cache.value_dim;  // as codes must be
    if (cache.dtype == DType::kI8 && !in_pairs) cache.dtype = DType::kF16;
    built.module->states.push_back(cache);
  }
  ParameterList parameters(*built.module, scheme, options.adapters, options.adapter_rank);
  std::unique_ptr<Model> model = definition.create(parameters, config);
  built.module->slot_states = model->slot_states();
  int64_t window_keys = 0;
  if (config.sliding_window_size > 0)
    window_keys = config.sliding_window_size +
                  std::max(config.get_int("prefill_chunk_size"), config.get_int("max_batch_size"));
  FunctionOptions functions{.hidden = shape.hidden,
                            .rotary_dims = {},
                            .window_keys = window_keys,
                            .sampling = options.sampling,
                            .trees = options.trees,
                            .encoder = definition.encoder,
                            .embeds = definition.embeds,
                            .draft_head = definition.draft_head};
  for (const RopeSpec& spec : rope_specs(config)) functions.rotary_dims.push_back(spec.rotary_dim);
  if (functions.trees &&
      (gives_embeddings(config) || definition.draft_head || window_keys > 0 || !model->verifies_trees())) {
    const char* why = gives_embeddings(config) || definition.draft_head ? "it writes no text"
                      : window_keys > 0                                 ? "its sliding window drops tokens"
                      : !built.module->slot_states.empty()              ? "it has a recurrence"
                                                                        : "its scores are biased by distance";
    throw UserError(str("--tree-verify: the rows of a model of type ", config.model_type,
                        " cannot be a tree: ", why, "; leave the flag out"));
  }
  add_functions(*built.module, *model, functions);
  built.adapter_targets = parameters.adapter_targets();
  built.parameters = parameters.take();
  for (const std::string& suffix : definition.unused_sources) {
    const bool used = std::ranges::any_of(built.parameters, [&](const Parameter& parameter) {
      return std::ranges::any_of(source_names(parameter.source),
                                 [&](const std::string& s) { return s.ends_with(suffix); });
    });
    if (!used) built.unused_sources.push_back(suffix);
  }
  return built;
}

}  // namespace mlc::frontend
