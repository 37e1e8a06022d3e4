// Builds a module: parameters and functions of a config's model over a paged KV cache.
#include "frontend/model.h"

#include <algorithm>

#include "frontend/layers/attention.h"
#include "frontend/models/registry.h"

namespace mlc::frontend {

Json RopeSpec::to_json() const {
  return {{"kind", kind}, {"rotary_dim", rotary_dim}, {"theta", theta}, {"scaling", scaling}};
}

bool is_encoder(const ModelConfig& config) { return model_definition(config.model_type).encoder; }

RopeSpec rope_spec(const ModelConfig& config) { return model_definition(config.model_type).rope(config); }

std::vector<RopeSpec> rope_specs(const ModelConfig& config) {
  const ModelDefinition& definition = model_definition(config.model_type);
  std::vector<RopeSpec> specs = {definition.rope(config)};
  if (definition.local_rope) specs.push_back(definition.local_rope(config));
  return specs;
}

RopeSpec make_rope_spec(const ModelConfig& config, int64_t rotary_dim, const std::string& theta) {
  RopeSpec spec{.kind = "default", .rotary_dim = rotary_dim, .theta = config.get_double(theta)};
  const Json* scaling = find(config.source_fields, "rope_scaling");
  if (!scaling) scaling = find(config.fields, "rope_scaling");
  if (!scaling) return spec;
  spec.scaling = *scaling;
  spec.kind = find_string(spec.scaling, "rope_type").value_or("default");
  return spec;
}

BuiltModel build_model(const ModelConfig& config, const QuantScheme& scheme, const BuildOptions& options) {
  const ModelDefinition& definition = model_definition(config.model_type);
  const AttentionShape shape = attention_shape(config);
  const bool in_pairs = shape.head_dim % 2 == 0;  // as codes must be
  BuiltModel built;
  built.module = std::make_unique<graph::Module>();
  built.module->name = config.model_type;
  built.module->states.push_back(graph::PagedState::of_heads(
      kKvState, model_shape(config).layers, shape.kv_heads, shape.head_dim, kPageSize,
      options.kv_dtype == DType::kI8 && !in_pairs ? DType::kF16 : options.kv_dtype));
  ParameterList parameters(*built.module, scheme);
  std::unique_ptr<Model> model = definition.create(parameters, config);
  int64_t window_keys = 0;
  if (config.sliding_window_size > 0)
    window_keys = config.sliding_window_size +
                  std::max(config.get_int("prefill_chunk_size"), config.get_int("max_batch_size"));
  std::vector<int64_t> rotary_dims;
  for (const RopeSpec& spec : rope_specs(config)) rotary_dims.push_back(spec.rotary_dim);
  add_functions(*built.module, *model, shape.hidden, rotary_dims, window_keys, options.sampling,
                definition.encoder);
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
